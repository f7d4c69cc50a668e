"""An event as it is read back: its parts, its data decoded, and the dict that Celery's receiver would have given."""

from __future__ import annotations

import datetime
import json
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from celery.events.receiver import EventReceiver
from celery.events.state import State
from kombu.clocks import LamportClock
from kombu.serialization import loads

from celery_event_bridge.contract import JSON, MSGPACK, Record
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reading.event import Clock, StoredEvent, Undecodable
from tests.support import oracle

RECEIVED = 1_800_000_000.25


def event(data: bytes, content_type: str = JSON, clock: Clock | None = None, **fields: Any) -> StoredEvent:
    record = Record(0, 1, "id", "t", "w", "uuid", fields.get("time"), data, content_type, fields.get("stored"))
    return StoredEvent(record, 0, clock or Clock())


def captured() -> list[tuple[bytes, str]]:
    """Each event that real workers sent and that is forwarded."""
    found = []
    for message in oracle.captured():
        kind = message.properties["content_type"]
        events = decode(message.body, kind, message.properties.get("application_headers", {})).events
        found += [(one.data, one.content_type) for one in events]
    return found


def by_celery(events: list[tuple[bytes, str]]) -> list[dict[str, Any]]:
    """What Celery's receiver makes of them, one after the other."""
    clock = LamportClock()
    receiver = SimpleNamespace(clock=clock, adjust_clock=clock.adjust, forward_clock=clock.forward)
    fields = [loads(data, kind, "utf-8" if kind == JSON else "binary", accept=[kind]) for data, kind in events]
    return [EventReceiver.event_from_message(receiver, one, now=lambda: RECEIVED)[1] for one in fields]


def by_us(events: list[tuple[bytes, str]]) -> list[dict[str, Any]]:
    clock = Clock()
    return [event(data, kind, clock, stored=round(RECEIVED * 1e6)).as_celery() for data, kind in events]


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/New_York"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where this machine stands: somewhere else than the workers."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_as_celerys_receiver_gives_it(zone: str) -> None:
    """Each captured event, in JSON and msgpack, to the last field: adjusted times, clocks, when it was received."""
    events = captured()
    assert len(events) > 471
    assert {JSON, MSGPACK} == {kind for _, kind in events}
    assert by_celery(events) == by_us(events)


@pytest.mark.parametrize(
    "fields",
    [
        [{"type": "task-sent", "clock": 1}, {"type": "x"}, {"type": "x", "clock": 7}, {"type": "task-sent"}],
        [{"type": "x", "timestamp": 5, "utcoffset": -3}, {"type": "x", "timestamp": 5}, {"type": "x", "utcoffset": 1}],
        [{"type": "x", "at": {"__type__": "datetime", "__value__": "2030-01-31T12:00:00"}, "clock": 2}],
    ],
)
def test_events_that_lack_something(zone: str, fields: list[dict[str, Any]]) -> None:
    """A clock, a time or a zone that is missing is treated as Celery does; so are kombu's own types."""
    events = [(msgspec.json.encode(one), JSON) for one in fields]
    assert by_celery(events) == by_us(events)


def test_a_state_is_the_same() -> None:
    """Celery's `State` fed with stored events knows the same tasks and workers as the one that listened."""
    live, stored = State(), State()
    for state, fields in ((live, by_celery(captured())), (stored, by_us(captured()))):
        for one in fields:
            state.event(one)
    assert live.tasks
    assert {uuid: task.as_dict() for uuid, task in live.tasks.items()} == {
        uuid: task.as_dict() for uuid, task in stored.tasks.items()
    }
    assert sorted(live.workers) == sorted(stored.workers)
    assert live.event_count == stored.event_count


def test_celery_is_not_needed() -> None:
    """Only its dict is imitated."""
    import subprocess
    import sys

    code = "import celery_event_bridge.reader as _, sys; "
    code += "print('celery' in sys.modules, 'kombu' in sys.modules, 'redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "False False False\n" == done.stdout


def test_a_time_is_aware() -> None:
    """In UTC, to the microsecond; none where the event has none, or one that no datetime can hold."""
    found = event(b"{}", time=1_700_000_000_123_456, stored=0)
    assert datetime.datetime(2023, 11, 14, 22, 13, 20, 123456, datetime.UTC) == found.time
    assert datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) == found.stored
    assert event(b"{}").time is None
    assert event(b"{}", time=10**20).time is None


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": [Infinity]}', {"a": [float("inf")]}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
    ],
)
def test_json_as_celery_writes_it(data: bytes, value: Any) -> None:
    """Also what strict readers refuse."""
    assert value == event(data).json()


@pytest.mark.parametrize(
    ("data", "content_type", "said"),
    [
        (b"{", JSON, "not JSON: "),
        (b"\xff", JSON, "not JSON: "),
        (b"[" * 100_000, JSON, "not JSON: "),
        (b"\xc1", MSGPACK, "not msgpack: "),
        (b'{"__type__"', JSON, "not JSON"),
    ],
)
def test_what_cannot_be_decoded_says_so(data: bytes, content_type: str, said: str) -> None:
    """In one line; the bytes are there all the same."""
    found = event(data, content_type)
    for decoding in (found.json, found.as_celery):
        with pytest.raises(Undecodable) as failure:
            decoding()
        assert str(failure.value).startswith(said)
        assert 1 == len(str(failure.value).splitlines())
    assert data == found.data


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"type": 1}', b"1"])
def test_what_is_no_event_is_nothing_for_celery(data: bytes) -> None:
    """Its handlers would fail on it."""
    with pytest.raises(Undecodable, match="event id: not an object with a field `type`"):
        event(data).as_celery()


def test_an_event_shows_what_it_is() -> None:
    """In a debugger and in logs."""
    assert "<StoredEvent t uuid id>" == repr(event(b"{}"))


def test_an_integer_that_no_float_can_hold() -> None:
    """As a timestamp or utcoffset it is no time, for Celery's receiver neither: the event is undecodable."""
    for name in ("timestamp", "utcoffset"):
        fields = {"type": "x", "timestamp": 1.5, "utcoffset": 0} | {name: 10**400}
        with pytest.raises(Undecodable, match="no time"):
            event(json.dumps(fields).encode()).as_celery()
