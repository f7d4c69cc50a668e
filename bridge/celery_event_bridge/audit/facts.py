"""Facts that the audit needs of one event, whatever the event is: a field of a wrong type counts as absent."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from celery_event_bridge.contract import JSON, Record
from celery_event_bridge.reading.event import Undecodable, decoded, without_surrogates

LAST = 2**62
"""Larger counts and times are nonsense."""


WORKERS = frozenset(
    {
        *("worker-online", "worker-heartbeat", "worker-offline", "task-received", "task-started", "task-succeeded"),
        *("task-failed", "task-retried", "task-rejected", "task-revoked", "task-cancelled"),
    }
)
"""Types of event that workers alone send."""
_CLIENT = re.compile(r"gen\d+@")
"""Begins the name that Celery gives to a process that is no worker: `gen4242@host`, with its process id."""


class _Fields(msgspec.Struct, gc=False):
    """The fields that are looked at, of any type; the others are skipped."""

    pid: Any = None
    clock: Any = None
    timestamp: Any = None
    name: Any = None
    processed: Any = None
    active: Any = None
    runtime: Any = None
    retries: Any = None
    exception: Any = None


_decoder = msgspec.json.Decoder(_Fields)
_NAMES = tuple(_Fields.__struct_fields__)


class Fact(msgspec.Struct, gc=False):
    """A stored event."""

    type: str
    """Empty where nothing says."""
    worker: str
    uuid: str | None = None
    pid: int | None = None
    clock: int | None = None
    """Lamport's, of the process that sent it."""
    time: int | None = None
    """Time when it happened by its sender's clock, in microseconds since 1970 UTC."""
    stored: int | None = None
    """Time when it was stored, the same way."""
    name: str | None = None
    processed: int | None = None
    """Tasks that the process has accepted since its start, by a heartbeat."""
    active: int | None = None
    """Tasks that the process runs, by a heartbeat."""
    runtime: float | None = None
    """Seconds, by a task-succeeded."""
    retries: int | None = None
    """Runs that there were before, by a task-sent or -received."""
    refused: bool = False
    """True of a task-failed if the worker knows no task of that name, so that it neither received nor started it."""
    problem: str | None = None
    """Reason why it cannot be decoded, where it cannot."""


def sender(worker: str, kind: str) -> str:
    """Return the name that an event is counted under: a worker's own, or `gen*@host` for all clients on a host.

    Clients come and go, a web server's for each of its processes, and a name each says nothing.
    """
    if kind in WORKERS or not worker.startswith("gen"):
        return worker
    found = _CLIENT.match(worker)
    return worker if found is None else f"gen*@{worker[found.end() :]}"


def fact(record: Record) -> Fact:
    """Take the record apart. Never raises, whatever the record is."""
    found = Fact(record.type, record.source, record.subject, stored=record.stored, problem=record.problem)
    if record.problem is not None:
        return found
    try:
        fields = _fields(record)
    except Undecodable as exc:
        found.problem = str(exc)
        return found
    found.pid = _count(fields.pid)
    found.clock = _count(fields.clock)
    found.time = _microseconds(fields.timestamp)
    found.processed = _count(fields.processed)
    found.active = _count(fields.active)
    if isinstance(fields.name, str) and fields.name:
        found.name = without_surrogates(fields.name)
    if _is_number(fields.runtime) and fields.runtime >= 0:
        found.runtime = float(fields.runtime)
    found.refused = isinstance(fields.exception, str) and fields.exception.startswith("NotRegistered(")
    found.retries = _count(fields.retries)
    return found


def _fields(record: Record) -> _Fields:
    """Raises Undecodable."""
    if record.content_type == JSON:
        try:
            return _decoder.decode(record.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # it may hold what only the standard library's decoder takes
    found = decoded(record.data, record.content_type)
    if not isinstance(found, dict):
        raise Undecodable("not an object")
    return _Fields(**{name: found.get(name) for name in _NAMES})


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < LAST else None


def _is_number(value: Any) -> bool:
    # Not math.isfinite: an integer of hundreds of digits is no float. NaN is in no range.
    return isinstance(value, int | float) and not isinstance(value, bool) and -LAST < value < LAST


def _microseconds(value: Any) -> int | None:
    return round(value * 1e6) if _is_number(value) and 0 < value < LAST / 1e6 else None
