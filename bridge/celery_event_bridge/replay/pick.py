"""Choice of the stored events that are sent on, and as what. Pure."""

from __future__ import annotations

import msgspec

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reading.event import StoredEvent


class NotAnEvent(Exception):
    """A record that is none. The text says why."""


class Between(msgspec.Struct, frozen=True):
    """A stretch of time, in microseconds since 1970 UTC: from `since` on, until before `until`; None is no bound."""

    since: int | None = None
    until: int | None = None

    def holds(self, time: int | None) -> bool:
        """Return whether it is within; what has no time is."""
        if time is None:
            return True
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


def event_of(stored: StoredEvent) -> Event:
    """Return the event as the bridge took it in once, with its id and its time in microseconds. Raises NotAnEvent.

    Decoded again, because no stream keeps all of it: Kafka has milliseconds, and the time of writing for an event
    without one. The id and the broker's name are the record's own.
    """
    record = stored.record
    if record.problem is not None:
        raise NotAnEvent(record.problem)
    decoded = decode(record.data, record.content_type, {"hostname": record.source}, record.broker)
    if decoded.rejection is not None:
        raise NotAnEvent(decoded.rejection.error)
    event = decoded.events[0]
    if len(decoded.events) > 1 or event.data != record.data:
        raise NotAnEvent("a list of events, which no bridge stores as one")
    return event if event.id == record.id else msgspec.structs.replace(event, id=record.id)


def time_of(stored: StoredEvent, event: Event) -> int | None:
    """Return when it happened, or else was stored, in microseconds since 1970 UTC."""
    return event.time if event.time is not None else stored.record.stored
