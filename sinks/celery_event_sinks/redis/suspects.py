"""Search for the event that takes the connection down, so that it is sent alone and not for ever. Pure state.

Redis cuts the connection on a command over `client-query-buffer-limit` or `proto-max-bulk-len`, and so do proxies with
limits of their own. Nothing tells which command it was, since the replies before it are lost with the connection. Nor
does one cut mean anything: servers restart. So the largest events that were on their way at two cuts in a row are sent
alone, and one is refused only after it alone was on its way at TRIALS cuts while the server answered in between.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from celery_event_bridge.contract import Event

TRIALS = 3
PAUSE = 0.25
"""Seconds between two trials."""
AT_A_TIME = 64
"""Events that are suspected after two cuts at most: each costs a round trip."""
REMEMBERED = 1000


class Suspects:
    """Events by their ids: an event that was given back comes again as another object."""

    def __init__(self) -> None:
        self._on_their_way: frozenset[str] = frozenset()
        """At the last cut, and not answered since."""
        self._cuts: dict[str, int] = {}
        """By id: times that it alone was on its way."""
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._cuts)

    def __contains__(self, event: Event) -> bool:
        return event.id in self._cuts

    @property
    def due(self) -> bool:
        """Return whether the next trial may be made."""
        return time.monotonic() >= self._due

    def cut(self, events: Sequence[Event]) -> None:
        """Take note of a connection that was cut with these events on their way."""
        again = [event for event in events if event.id in self._on_their_way]
        self._on_their_way = frozenset(event.id for event in events)
        if again:
            largest = max(len(event.data) for event in again)
            again = [event for event in again if 2 * len(event.data) > largest]
            again.sort(key=lambda event: -len(event.data))
            for event in again[:AT_A_TIME]:
                self.suspect(event)

    def suspect(self, event: Event) -> None:
        """Send this one alone from now on."""
        self._cuts.setdefault(event.id, 0)
        if len(self._cuts) > REMEMBERED:
            del self._cuts[next(iter(self._cuts))]

    def cut_alone(self, event: Event, reason: str) -> str:
        """Take note that it alone was on its way, and that the server answers; returns why it is refused, if it is."""
        cuts = self._cuts.get(event.id, 0) + 1
        if cuts >= TRIALS:
            del self._cuts[event.id]
            return (
                f"{reason} {TRIALS} times as this event of {len(event.data)} bytes was sent alone, and Redis answered "
                "in between: over client-query-buffer-limit, proto-max-bulk-len or the limit of a proxy?"
            )
        self._cuts[event.id] = cuts
        self._due = time.monotonic() + PAUSE
        return ""

    def cleared(self, events: Sequence[Event]) -> None:
        """Take note that these were answered."""
        if self._on_their_way:
            self._on_their_way -= {event.id for event in events}
        if self._cuts:
            for event in events:
                self._cuts.pop(event.id, None)
