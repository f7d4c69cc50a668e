"""Picks of a reader, by type and by broker, and a word on patterns that match nothing: a slip there hides events in
silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase

from celery_event_bridge.config.event_types import unmatched
from celery_event_bridge.contract import notices
from celery_event_bridge.forward.intake import event_filter

NAMES = 10
"""Names of brokers that are listed where a pattern matches none of them."""

FromBroker = Callable[[str | None], bool]
"""Test of whether events of the broker of this name are asked for; None is that of events without a name."""


class Picked:
    """Patterns such as `task-*,!task-received`, and of brokers' names; none means all."""

    def __init__(self, patterns: Sequence[str] = (), brokers: Sequence[str] = ()) -> None:
        self._patterns: Sequence[str] = patterns
        self._brokers: Sequence[str] = brokers
        self._came: set[str] = set()
        self._came_from: set[str] = set()
        self.wanted: Callable[[str], bool] = event_filter(patterns, self._came)
        """Test of whether events of this type are asked for."""
        self.broker: FromBroker | None = broker_filter(brokers, self._came_from) if brokers else None
        """None where those of all brokers are."""

    def look(self) -> None:
        """Tell, once something was read, of patterns that match no type of Celery's and none that came, and of those
        that match no broker's name that came; only once.
        """
        lines: list[str] = []
        if self._came:
            lines += unmatched(self._patterns, "types", self._came)
            self._patterns = ()
        if self._came_from:
            lines += unmatched_brokers(self._brokers, "broker", self._came_from)
            self._brokers = ()
        for text in lines:
            notices.tell("filter", text, subject=text, logger="celery_event_bridge.reader")


def broker_filter(patterns: Sequence[str], came: set[str] | None = None) -> FromBroker:
    """Return a test of a broker's name, by patterns as for types; a record without one has the empty name.

    The names that it was asked for are added to `came`.
    """
    wanted = event_filter(patterns, came)
    return lambda name: wanted(name or "")


def unmatched_brokers(patterns: Sequence[str], named: str, came: Collection[str]) -> list[str]:
    """Return a sentence for each pattern that matches none of the names that came, if any came.

    `named` is what the patterns were given by.
    """
    if not came:
        return []
    names = [repr(name) for name in sorted(came) if name]
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    there = (
        f"they have {', '.join(names[:NAMES])}{more}" if names else "they have none, as BRIDGE_BROKER_NAME was unset"
    )
    return [
        f"{named}: {pattern!r} matches the broker's name of none of the events that were read: {there}"
        for pattern in patterns
        if not any(fnmatchcase(name, pattern.removeprefix("!").removeprefix("+")) for name in came)
    ]
