"""What is pure in `replay`: order, pace, choice, and how far all is settled."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.rabbitmq.event_message import properties
from celery_event_bridge.contract import JSON, Event
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reading.event import Clock, StoredEvent
from celery_event_bridge.replay.order import ByTime, Settled
from celery_event_bridge.replay.pace import Pace
from celery_event_bridge.replay.pick import Between, NotAnEvent, event_of, time_of
from tests.support.replaying import happened, record


def stored(event: Event, **changes: object) -> StoredEvent:
    return StoredEvent(record(event, **changes), 0, Clock())


# Which, and as what ---------------------------------------------------------------------------------------------------


def test_an_event_is_as_it_was_taken_in() -> None:
    """With its key, and its time to the microsecond, which the record does not have."""
    event = decode(b'{"type":"task-sent","uuid":"u","timestamp":1.123456}', JSON, {"hostname": "h"}).events[0]
    assert 1_123_456 == event.time
    assert msgspec.structs.asdict(event) == msgspec.structs.asdict(event_of(stored(event)))
    assert "another" == event_of(stored(event, id="another")).id


@pytest.mark.parametrize("name", [None, "eu"])
def test_an_event_keeps_the_name_of_its_broker(name: str | None) -> None:
    """Verbatim: its record's own, or none where that has none; the id is not changed by it."""
    event = happened(1)[0]
    found = event_of(stored(event, broker=name))
    assert (name, event.id) == (found.broker, found.id)


def test_a_time_that_the_stream_has_made_up_is_none() -> None:
    """Kafka gives an event without a time that of its writing; the order goes by when it was stored."""
    event = decode(b'{"type":"worker-x"}', JSON, {}).events[0]
    found = event_of(stored(event, time=99))
    assert found.time is None
    assert 7 == time_of(stored(event, time=99), found)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"no": "type"}', b"\xff", b'[{"type":"a"},{"type":"b"}]'])
def test_what_is_none_is_told(data: bytes) -> None:
    """Nothing but one event is sent on."""
    with pytest.raises(NotAnEvent):
        event_of(stored(happened(1)[0], data=data))
    with pytest.raises(NotAnEvent, match="because"):
        event_of(stored(happened(1)[0], problem="because"))


def test_a_stretch_of_time() -> None:
    """From its beginning on until before its end; without a time there is nothing to say against it."""
    between = Between(10, 20)
    assert [False, True, True, False] == [between.holds(time) for time in (9, 10, 19, 20)]
    assert between.holds(None)
    assert Between().holds(5)


def test_headers_name_no_host_that_nobody_knows() -> None:
    """Celery gives a host name always; where the stream says `unknown` there was none."""
    assert {} == properties(decode(b'{"type":"x"}', JSON, {}).events[0])["application_headers"]
    assert {"hostname": "h"} == properties(decode(b'{"type":"x"}', JSON, {"hostname": "h"}).events[0])[
        "application_headers"
    ]


# In which order, and when ---------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 3), st.one_of(st.none(), st.integers(0, 50))), max_size=60), st.integers(0, 20)
)
def test_order(found: list[tuple[int, int | None]], window: int) -> None:
    """Each partition keeps its own order, nothing is lost, and no more wait than the window holds."""
    (event,) = happened(1)
    waiting = ByTime(window)
    taken = []
    for number, (partition, at) in enumerate(found):
        waiting.add(number, partition, event, at)
        while waiting.enough:
            taken.append(waiting.next().number)
        assert len(waiting) <= window
    while waiting:
        taken.append(waiting.next().number)
    assert list(range(len(found))) == sorted(taken)
    for partition in range(4):
        own = [number for number in taken if found[number][0] == partition]
        assert own == sorted(own)


def test_partitions_are_merged_by_time() -> None:
    """As far as they are within the window; without one they come as they were read."""
    (event,) = happened(1)
    found = [("a", 10), ("a", 30), ("b", 20), ("b", 40)]
    for window, expected in ((10, [10, 20, 30, 40]), (0, [10, 30, 20, 40])):
        waiting, taken = ByTime(window), []
        for number, (partition, at) in enumerate(found):
            waiting.add(number, partition, event, at)
            while waiting.enough:
                taken.append(waiting.next().time)
        while waiting:
            taken.append(waiting.next().time)
        assert expected == taken


def test_large_events_do_not_wait_in_number() -> None:
    """The window is one of bytes as well."""
    (event,) = happened(1)
    waiting = ByTime(1000, window_bytes=len(event.data) * 2)
    for number in range(3):
        waiting.add(number, "p", event, number)
    assert waiting.enough


@given(st.permutations(range(12)), st.integers(0, 12))
def test_how_far_all_is_settled(order: Sequence[int], count: int) -> None:
    """Up to the last one before the first that is not."""
    settled = Settled()
    for number in range(12):
        settled.enter(number)
    for number in order[:count]:
        settled.settle(number)
    done = set(order[:count])
    assert next((number for number in range(12) if number not in done), 12) - 1 == settled.until


def test_pace() -> None:
    """In their rhythm; a clock that leaps begins a new one instead of a wait of years."""
    pace = Pace(10)
    assert [100.0, 101.0, 100.5, 103.0] == [pace.due(second * 1_000_000, 100.0) for second in (50, 60, 55, 80)]
    leap = 50 * 365 * 86_400
    assert 200.0 == pace.due(leap * 1_000_000, 200.0)
    assert 201.0 == pace.due((leap + 10) * 1_000_000, 200.0)
    assert 300.0 == pace.due(90 * 1_000_000, 300.0)
    assert 7.0 == Pace(None).due(1, 7.0)
