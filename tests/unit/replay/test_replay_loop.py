"""`replay` at work: a sink's verdicts, and what is committed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pytest
import structlog

from celery_event_bridge.contract import Batch, Outcome, Reading, Record, SinkUnavailable, Verdict
from celery_event_bridge.reading.session import Events
from celery_event_bridge.replay.loop import Replay
from celery_event_bridge.replay.pace import Pace
from celery_event_bridge.replay.pick import Between
from celery_event_bridge.replay.sink_target import SinkTarget
from celery_event_bridge.testing import MemorySink
from tests.support.replaying import happened, ids, record

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
    """What is no event, of another type or broker, or outside of the times does not hold the position."""
    events = happened(4)
    records = [record(event, position) for position, event in enumerate(events)]
    records[1] = msgspec.structs.replace(records[1], data=b"nonsense")
    records.insert(1, msgspec.structs.replace(records[1], id="another", type="task-unwanted"))
    records.insert(2, msgspec.structs.replace(records[0], id="elsewhere", broker="unwanted"))
    records = [msgspec.structs.replace(one, position=position) for position, one in enumerate(records)]
    reader, sink = OneBatch(records), MemorySink()
    told: list[str] = []
    run = replay_of(
        Events(reader, Reading("g", ends=True)), target(sink), between=Between(until=events[3].time), told=told
    )
    run.run()
    assert ids([events[0], events[2]]) == ids(sink.stored)
    assert [0, 1, 2, 3, 4, 5] == reader.committed
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
        broker=lambda name: name != "unwanted",
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
