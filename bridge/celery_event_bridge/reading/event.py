"""An event as a reader gets it: what the stream holds, decoded only where it is asked for."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import msgspec

from celery_event_bridge.contract import JSON, MSGPACK, Record

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_CLIENTS_SKEW = 1
"""A client never synchronises its clock, so Celery's receiver gives `task-sent` its own, less one."""


class Undecodable(ValueError):
    """The data is not what its content type says. The text says why; `data` has the bytes."""


class Clock:
    """Lamport's, as Celery's receiver keeps one: it gives events without a clock a place among the others."""

    def __init__(self) -> None:
        self.value: float = 0

    def stamp(self, fields: dict[str, Any]) -> None:
        """Do to `clock` what the receiver does, and to its own by it."""
        clock = fields.get("clock")
        if fields.get("type") == "task-sent":
            clock = fields["clock"] = (self.value or 1) - _CLIENTS_SKEW
        elif "clock" not in fields:
            self.value += 1
            fields["clock"] = self.value
            return
        if isinstance(clock, int | float):
            self.value = max(self.value, clock) + 1


class StoredEvent:
    """An event out of a stream. Made by the reader; `commit` takes it back."""

    __slots__ = ("_clock", "number", "record")

    def __init__(self, record: Record, number: int, clock: Clock) -> None:
        self.record = record
        self.number = number
        """Counts what this reader has fetched."""
        self._clock = clock

    @property
    def id(self) -> str:
        """BLAKE2b-128 of `data` as it was published, 32 hex digits: the same for each copy of the event."""
        return self.record.id

    @property
    def type(self) -> str:
        """`task-succeeded` and the like; empty where the record does not say."""
        return self.record.type

    @property
    def source(self) -> str:
        """Host name of the worker or client that sent it, or `unknown`."""
        return self.record.source

    @property
    def subject(self) -> str | None:
        """The task's uuid."""
        return self.record.subject

    @property
    def time(self) -> datetime.datetime | None:
        """Time at which it happened, by its sender's clock, in UTC: in Kafka in milliseconds, else in microseconds."""
        return _datetime(self.record.time)

    @property
    def stored(self) -> datetime.datetime | None:
        """Time at which it was stored, by the bridge's clock or the stream's, in UTC."""
        return _datetime(self.record.stored)

    @property
    def data(self) -> bytes:
        """The bytes as they were published."""
        return self.record.data

    @property
    def content_type(self) -> str:
        """`application/json` or `application/x-msgpack`."""
        return self.record.content_type

    @property
    def broker(self) -> str | None:
        """Name of the broker that it was published on, where its bridge had one to give: `BRIDGE_BROKER_NAME`."""
        return self.record.broker

    @property
    def problem(self) -> str | None:
        """Reason why this is no record of the bridge's, where it is none; it was handed over whatever `types` says."""
        return self.record.problem

    def json(self) -> Any:
        """Return the data decoded, anew with each call, msgpack as well: a dict, for an event. Raises Undecodable."""
        return decoded(self.record.data, self.record.content_type)

    def as_celery(self) -> dict[str, Any]:
        """Return the dict that Celery's own receiver would have given, for `State.event` and every handler of events.

        `timestamp` is adjusted to this machine's time zone, as Celery does it. `local_received` is when the event was
        stored, for nobody received it later than that. `clock` continues from event to event: call it once for each,
        in order. Raises Undecodable.
        """
        record = self.record
        kombus = record.content_type == JSON and b'"__type__"' in record.data
        fields = _by_kombu(record.data) if kombus else self.json()
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise Undecodable(f"event {record.id}: not an object with a field `type`")
        self._clock.stamp(fields)
        timestamp, offset = fields.get("timestamp"), fields.get("utcoffset")
        if isinstance(timestamp, int | float) and isinstance(offset, int | float):
            try:
                fields["timestamp"] = timestamp - (offset - _hours_from_utc()) * 3600
            except OverflowError as exc:  # an integer of hundreds of digits
                raise Undecodable(f"event {record.id}: a timestamp or utcoffset that is no time") from exc
        fields["local_received"] = time.time() if record.stored is None else record.stored / 1e6
        return fields

    def __repr__(self) -> str:
        return f"<StoredEvent {self.type or '?'} {self.subject or self.source} {self.id}>"


def decoded(data: bytes, content_type: str) -> Any:
    """Return the value in its data. Raises Undecodable."""
    try:
        if content_type == MSGPACK:
            return msgspec.msgpack.decode(data)
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return json.loads(data.decode())  # NaN, Infinity and lone surrogates, which Celery can send
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        kind = "msgpack" if content_type == MSGPACK else "JSON"
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc).partition("\n")[0][:200]
        raise Undecodable(f"not {kind}: {reason}") from exc


def without_surrogates(text: str) -> str:
    """Celery can send lone ones, and no UTF-8 holds them: they become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _by_kombu(data: bytes) -> Any:
    """Decode with the types that kombu writes as objects of two fields, a datetime in a custom event for example."""
    from kombu.utils.json import loads

    try:
        return loads(data)  # type: ignore[no-untyped-call]
    except (ValueError, RecursionError, TypeError) as exc:
        raise Undecodable(f"not JSON as kombu writes it: {str(exc)[:200]}") from exc


def _datetime(microseconds: int | None) -> datetime.datetime | None:
    if microseconds is None:
        return None
    try:
        return _EPOCH + datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        return None


def _hours_from_utc() -> float:
    """West of it, as Celery has it."""
    seconds = time.altzone if time.localtime().tm_isdst else time.timezone
    return seconds / 3600
