"""Lines for events: which are wanted, and how they look."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import click
import msgspec

from celery_event_bridge.cli.details import ENVELOPE, details, shortened
from celery_event_bridge.cli.legible import legible
from celery_event_bridge.cli.names import NAMED, NAMES, Names
from celery_event_bridge.config.event_types import CELERYS, unmatched
from celery_event_bridge.contract import JSON
from celery_event_bridge.forward.intake import event_filter
from celery_event_bridge.reading.event import StoredEvent, Undecodable, without_surrogates
from celery_event_bridge.reading.picked import broker_filter, unmatched_brokers

COLOURS = {
    "failed": "red",
    "rejected": "red",
    "revoked": "magenta",
    "retried": "yellow",
    "succeeded": "green",
    "started": "cyan",
    "offline": "yellow",
}
"""By the last word of an event's type."""
EXACT = 2**53
"""Integers below it are floats too; a larger run time is nonsense, and may be too large for any float."""


class Asked(msgspec.Struct, frozen=True):
    """Conditions that an event has to meet."""

    types: Sequence[str] = ()
    """Patterns of event types; none means all."""
    name: str | None = None
    """A pattern of the task's name."""
    uuid: str | None = None
    """The beginning of a task's uuid."""
    workers: Sequence[str] = ()
    """Patterns of the sender; none means all."""
    brokers: Sequence[str] = ()
    """Patterns of the broker's name; none means all."""
    until: int | None = None
    """Microseconds since 1970 UTC: what was stored before. By the event's own time where nobody knows that."""

    @property
    def is_all(self) -> bool:
        """Return whether every event meets them."""
        return self == Asked()


class Lines:
    """Knows the names of tasks."""

    def __init__(self, asked: Asked, form: str = "line", *, names: int = NAMES) -> None:
        """Begin; `form` is `line`, `full` or `json`."""
        self._asked = asked
        self._came: set[str] = set()
        self._wanted = event_filter(asked.types, self._came)
        self._worker = event_filter(asked.workers)
        self._came_from: set[str] = set()
        self._broker = broker_filter(asked.brokers, self._came_from)
        self._form = form
        self.names = Names(names)
        self.nameless = 0
        """Events that a wanted name leaves out for want of their task's: it stands in an earlier event."""

    def line(self, event: StoredEvent, *, colour: bool = False) -> str | None:
        """Return the event's line, or lines, without the last end; None where it is not wanted."""
        fields: dict[str, Any] | None = None
        named = event.type in NAMED and event.subject is not None
        if named:
            fields = _fields(event)
            self.names.learn(event.subject or "", fields.get("name"))
        if not self._is_wanted(event):
            return None
        if self._form == "json":
            return _json(event, self._named(event))
        fields = _fields(event) if fields is None else fields
        head = self._text(event, fields, colour=colour)
        return "\n".join([head, *details(fields)]) if self._form == "full" else head

    def _is_wanted(self, event: StoredEvent) -> bool:
        asked = self._asked
        of_type, named = self._wanted(event.type), not asked.brokers or self._broker(event.broker)
        if event.problem is None and not (of_type and named):
            return False
        if asked.until is not None and not _is_before(event, asked.until):
            return False
        if asked.uuid is not None and not (event.subject or "").startswith(asked.uuid):
            return False
        if asked.workers and not self._worker(event.source):
            return False
        if asked.name is None:
            return True
        name = self._named(event)
        self.nameless += event.subject is not None and name is None
        return fnmatchcase(name or "", asked.name)

    def unmatched(self) -> Sequence[str]:
        """Return a sentence for each pattern of types that matches none of Celery's, and none that came, and for each
        of brokers that matches none that came.
        """
        return [
            *unmatched(self._asked.types, "--type", self._came),
            *unmatched_brokers(self._asked.brokers, "--broker", self._came_from),
        ]

    def _text(self, event: StoredEvent, fields: dict[str, Any], *, colour: bool) -> str:
        parts = [_local(event.time or event.stored), f"{event.type or '?':<16}"]
        if event.subject is not None:
            parts += [self._named(event) or "-", event.subject]
        parts.append(event.source)
        runtime = fields.get("runtime")
        if isinstance(runtime, float) or (isinstance(runtime, int) and abs(runtime) < EXACT):
            parts.append(f"{runtime:.3f}s")
        for name in ("exception", "reason"):
            if fields.get(name):
                parts.append(str(fields[name]))
        if event.type not in CELERYS:
            parts += [f"{name}={shortened(value)}" for name, value in fields.items() if name not in ENVELOPE and name]
        if event.problem or "" in fields:
            parts.append(event.problem or str(fields[""]))
        text = legible("  ".join(parts))
        return click.style(text, fg=COLOURS.get(event.type.rpartition("-")[2])) if colour else text

    def _named(self, event: StoredEvent) -> str | None:
        return None if event.subject is None else self.names.of(event.subject)


def _is_before(event: StoredEvent, until: int) -> bool:
    when = event.stored or event.time
    return when is not None and when.timestamp() * 1e6 < until


def _local(when: datetime.datetime | None) -> str:
    """Return it in the local time zone, where the calendar's first or last hours may have no place."""
    try:
        return "-" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError):
        return "-"


def _fields(event: StoredEvent) -> dict[str, Any]:
    """Return the event's own fields; under the empty name, why it has none."""
    try:
        fields = event.json()
    except Undecodable as exc:
        return {"": str(exc)}
    return fields if isinstance(fields, dict) else {"": "not an object"}


def _json(event: StoredEvent, name: str | None) -> str:
    """Return the record's parts, and the data as it was published; in base64 where that is not JSON on one line."""
    record: dict[str, Any] = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "task": name,
        "time": event.time,
        "stored": event.stored,
        "content_type": event.content_type,
    }
    if event.broker is not None:
        record["broker"] = event.broker
    if event.problem is not None:
        record["problem"] = event.problem
    record = {key: without_surrogates(part) if isinstance(part, str) else part for key, part in record.items()}
    head = msgspec.json.encode(record)[:-1]
    if event.content_type == JSON and event.data and _is_a_line(event):
        return (head + b',"data":' + event.data + b"}").decode()
    return (head + b',"data_base64":"' + base64.b64encode(event.data) + b'"}').decode()


def _is_a_line(event: StoredEvent) -> bool:
    if b"\n" in event.data or b"\r" in event.data:
        return False
    try:
        event.json()
    except Undecodable:
        return False
    return True
