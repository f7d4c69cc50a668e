"""What is pure in `replay`: order, pace, choice, how far all is settled; then a sink's verdicts, and the loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pytest
import structlog
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.rabbitmq.publish import properties
from celery_event_bridge.contract import JSON, Batch, Event, Outcome, Reading, Record, SinkUnavailable, Verdict
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reading.event import Clock, StoredEvent
from celery_event_bridge.reading.session import Events
from celery_event_bridge.replay.loop import Replay
from celery_event_bridge.replay.order import ByTime, Settled
from celery_event_bridge.replay.pace import Pace
from celery_event_bridge.replay.pick import Between, NotAnEvent, event_of, time_of
from celery_event_bridge.replay.sink_target import SinkTarget
from celery_event_bridge.testing import MemorySink
from tests.support.replaying import happened, ids


def record(event: Event, position: int = 0, **changes: object) -> Record:
    """The event as a stream without a key or microseconds gives it back."""
    milliseconds = None if event.time is None else event.time // 1000 * 1000
    made = Record(
        "p",
        position,
        event.id,
        event.type,
        event.source,
        event.subject,
        milliseconds,
        event.data,
        event.content_type,
        7,
    )
    return msgspec.structs.replace(made, **changes)


def stored(event: Event, **changes: object) -> StoredEvent:
    return StoredEvent(record(event, **changes), 0, Clock())


# Which, and as what ---------------------------------------------------------------------------------------------------


def test_an_event_is_as_it_was_taken_in() -> None:
    """With its key, and its time to the microsecond, which the record does not have."""
    event = decode(b'{"type":"task-sent","uuid":"u","timestamp":1.123456}', JSON, {"hostname": "h"}).events[0]
    assert 1_123_456 == event.time
    assert msgspec.structs.asdict(event) == msgspec.structs.asdict(event_of(stored(event)))
    assert "another" == event_of(stored(event, id="another")).id


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


ALWAYS = Between()


# A sink's verdicts ----------------------------------------------------------------------------------------------------


def target(sink: MemorySink, patience: float = 60.0) -> SinkTarget:
    return SinkTarget(sink, "memory://", 0.01, patience, 0.0)


def await_all(made: SinkTarget) -> list[tuple[int, str | None]]:
    found = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        made.wait(0.01)
        found += [(decided.number, decided.refused) for decided in made.take()]
        if not made.owed:
            return found
    raise AssertionError("not all is decided")


class ShortSink(MemorySink):
    """Its stream removes what is older than an hour."""

    def kept_for(self) -> float:
        return 3600.0


def test_events_that_are_older_than_the_sink_keeps_them_are_warned_of_once() -> None:
    """A sink that does not say for how long it keeps them is warned of by nobody."""
    old, new = (msgspec.structs.replace(event, time=at) for event, at in zip(happened(2), (1, 2**60), strict=True))
    for sink, warnings in ((ShortSink(), 1), (MemorySink(), 0)):
        with structlog.testing.capture_logs() as logged:
            made = target(sink)
            for number, event in enumerate((new, old, old)):
                made.put(number, event)
        assert warnings == len([line for line in logged if "older than it keeps them" in line["event"]])


def test_what_is_given_back_goes_first_and_in_order() -> None:
    """Nothing fresh is handed over before it, and each event is decided once."""
    sink = MemorySink(at_once=False)
    made = target(sink)
    events = happened(6)
    for number, event in enumerate(events[:4]):
        made.put(number, event)
    made.wait(0.0)
    sink.decide(Outcome.STORED, 1)
    sink.decide(Outcome.RETRY)
    made.wait(0.0)
    assert made.full
    assert [0] == [decided.number for decided in made.take()]
    for number, event in enumerate(events[4:], 4):
        made.put(number, event)
    sink.at_once = True
    assert [(number, None) for number in (1, 2, 3, 4, 5)] == await_all(made)
    assert [ids(events[:4]), ids(events[1:4]), ids(events[4:])] == [ids(sent) for sent in sink.sends]


def test_what_is_refused_is_told() -> None:
    """With the sink's own reason."""
    sink = MemorySink(at_once=False)
    made = target(sink)
    made.put(5, happened(1)[0])
    made.wait(0.0)
    sink.decide(Outcome.REFUSED, reason="too large")
    assert [(5, "too large")] == await_all(made)


def test_a_sink_that_stays_away_is_given_up() -> None:
    """At the beginning, and later when it has decided nothing for as long as told."""
    sink = MemorySink(at_once=False)
    sink.away = "gone fishing"
    with pytest.raises(SinkUnavailable, match="gone fishing"):
        target(sink)
    sink.away = None
    made = target(sink, patience=0.05)
    made.put(0, happened(1)[0])
    with pytest.raises(SinkUnavailable, match="it has decided nothing"):
        await_all(made)


# The loop -------------------------------------------------------------------------------------------------------------


class OneBatch:
    """A reader of records that are there."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)
        self.committed: list[int] = []

    def open(self) -> None: ...

    def fetch(self, limit: int, timeout: float) -> Batch:
        taken, self.records = self.records[:limit], self.records[limit:]
        return Batch(taken)

    def ended(self) -> bool:
        return not self.records

    def alive(self) -> bool:
        return True

    def commit(self, positions: dict[object, Sequence[int]]) -> bool:
        self.committed += positions["p"]
        return True

    def close(self) -> None: ...


def test_what_is_confirmed_before_a_failure_is_committed() -> None:
    """And nothing beyond it, though it was handed over."""
    reader = OneBatch([record(event, position) for position, event in enumerate(happened(5))])
    sink = MemorySink(at_once=False)
    made = target(sink, patience=0.1)
    events = Events(reader, Reading("g", ends=True))
    run = replay_of(events, made)

    def decide_two(at: int, count: int) -> None:
        if len(run._sent) == 5:
            made.wait(0.0)
            sink.decide(Outcome.STORED, 2)

    run._progress = decide_two
    with pytest.raises(SinkUnavailable):
        run.run()
    assert [0, 1] == reader.committed
    assert 2 == run.figures.sent


def test_what_is_passed_over_is_committed_with_the_rest() -> None:
    """What is no event, of another type or outside of the times does not hold the position."""
    events = happened(4)
    records = [record(event, position) for position, event in enumerate(events)]
    records[1] = msgspec.structs.replace(records[1], data=b"nonsense")
    records.insert(1, msgspec.structs.replace(records[1], id="another", type="task-unwanted"))
    records = [msgspec.structs.replace(one, position=position) for position, one in enumerate(records)]
    reader, sink = OneBatch(records), MemorySink()
    told: list[str] = []
    run = replay_of(
        Events(reader, Reading("g", ends=True)), target(sink), between=Between(until=events[3].time), told=told
    )
    run.run()
    assert ids([events[0], events[2]]) == ids(sink.stored)
    assert [0, 1, 2, 3, 4] == reader.committed
    assert (2, 1, 1) == (run.figures.sent, run.figures.refused, len(told))


def replay_of(events: Events, made: SinkTarget, between: Between = ALWAYS, told: list[str] | None = None) -> Replay:
    return Replay(
        events,
        made,
        group=True,
        wanted=lambda kind: kind != "task-unwanted",
        between=between,
        pace=Pace(None),
        refused=[].append if told is None else told.append,
        progress=lambda at, count: None,
        patience_to_stop=0.0,
    )


def test_a_verdict_without_events_is_no_decision() -> None:
    """So Kafka's sink tells of an outage while librdkafka goes on trying."""

    class Telling(MemorySink):
        def verdicts(self, timeout: float) -> Sequence[Verdict]:
            self.at_once = True
            found = super().verdicts(timeout)
            return [Verdict(Outcome.RETRY, (), "no broker answers"), *found]

    sink = Telling()
    made = target(sink)
    made.put(0, happened(1)[0])
    assert [(0, None)] == await_all(made)
