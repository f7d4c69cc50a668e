"""A sink as it is observed: what it stores, gives back, refuses and advises is counted and shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from celery_event_bridge.contract import Finding, Outcome, SinkUnavailable
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.sink import ObservedSink
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import MemorySink, sample_events
from tests.support.samples import value


def test_an_observed_sink_counts(metrics: Metrics, status: Status) -> None:
    """What was forwarded, what came back, and whether the sink is there."""
    inner = MemorySink(at_once=False)
    sink = ObservedSink(inner, metrics, status)
    assert "not tried yet" == status.sink_reasons["memory"]
    sink.open()
    assert "not tried yet" == status.sink_reasons["memory"], "a connection is no promise to store"
    sink.available()
    assert status.sink_reasons["memory"] is None
    events = sample_events(6)
    sink.send(events[:4])
    sink.send(events[4:])
    inner.decide(Outcome.STORED, 3)
    inner.decide(Outcome.RETRY, 3, reason="away")
    assert 2 == len(sink.verdicts(0.0))
    assert "away" == status.sink_reasons["memory"]
    assert 3 == value(metrics, "sink_retries_total", sink="memory")
    assert 6 == value(metrics, "sink_send_seconds_count", sink="memory")
    inner.away = "still away"
    with pytest.raises(SinkUnavailable):
        sink.available()
    assert "still away" == status.sink_reasons["memory"]
    inner.away = None
    sink.available()
    assert 1 == value(metrics, "reconnects_total", end="memory")


def observed(
    metrics: Metrics, status: Status, clock: Callable[[], float] = time.monotonic
) -> tuple[ObservedSink, MemorySink]:
    inner = MemorySink(at_once=False)
    sink = ObservedSink(inner, metrics, status, clock)
    sink.open()
    sink.available()
    return sink, inner


def test_what_is_stored_is_forwarded_and_what_is_refused_is_not(metrics: Metrics, status: Status) -> None:
    """Both were sent, and neither is a retry."""
    sink, inner = observed(metrics, status)
    events = sample_events(9)
    sink.send(events)
    inner.decide(Outcome.STORED, 6)
    inner.decide(Outcome.REFUSED, 3)
    assert [Outcome.STORED, Outcome.REFUSED] == [verdict.outcome for verdict in sink.verdicts(0.0)]
    forwarded = [
        value(metrics, "events_forwarded_total", sink="memory", type=kind)
        for kind in ("worker-heartbeat", "task-started")
    ]
    assert [2, 4] == forwarded
    assert 0 == value(metrics, "sink_retries_total", sink="memory")
    assert 9 == value(metrics, "sink_send_seconds_count", sink="memory")
    assert status.sink_reasons["memory"] is None


def test_verdicts_in_parts_count_from_the_oldest_that_is_undecided(metrics: Metrics, status: Status) -> None:
    """Two hand-overs a second apart, decided in three parts across both."""
    clock = [100.0]
    sink, inner = observed(metrics, status, lambda: clock[0])
    events = sample_events(10)
    sink.send(events[:6])
    clock[0] = 101.0
    sink.send(events[6:])
    seconds = []
    for at, count in ((102.0, 4), (103.0, 4), (104.0, 2)):
        clock[0] = at
        inner.decide(Outcome.STORED, count)
        before = value(metrics, "sink_send_seconds_sum", sink="memory") or 0
        assert 1 == len(sink.verdicts(0.0))
        after = value(metrics, "sink_send_seconds_sum", sink="memory")
        assert after is not None
        seconds.append((after - before) / count)
    assert [102.0 - 100, 103.0 - 100, 104.0 - 101] == seconds
    assert 10 == value(metrics, "sink_send_seconds_count", sink="memory")


def test_a_sink_that_is_found_again_is_counted_each_time(metrics: Metrics, status: Status) -> None:
    """The first connection is none; what comes back by storing counts as what comes back by asking."""
    sink, inner = observed(metrics, status)
    assert 0 == value(metrics, "reconnects_total", end="memory")
    for lost in (1, 2):
        sink.send(sample_events(1))
        inner.decide(Outcome.RETRY, reason="")
        sink.verdicts(0.0)
        assert "it gave events back" == status.sink_reasons["memory"]
        sink.send(sample_events(1))
        inner.decide(Outcome.STORED)
        sink.verdicts(0.0)
        assert (None, lost) == (status.sink_reasons["memory"], value(metrics, "reconnects_total", end="memory"))


def test_a_sink_that_cannot_be_opened_says_why(metrics: Metrics, status: Status) -> None:
    """Its first success afterwards is no reconnection."""
    inner = MemorySink()
    inner.away = "refused"
    sink = ObservedSink(inner, metrics, status)
    with pytest.raises(SinkUnavailable, match="refused"):
        sink.open()
    assert "refused" == status.sink_reasons["memory"]
    inner.away = None
    sink.open()
    sink.available()
    assert (None, 0) == (status.sink_reasons["memory"], value(metrics, "reconnects_total", end="memory"))


def test_what_was_in_hand_at_a_close_is_not_waited_for(metrics: Metrics, status: Status) -> None:
    """The next verdict is timed from its own hand-over."""
    clock = [100.0]
    sink, inner = observed(metrics, status, lambda: clock[0])
    sink.send(sample_events(3))
    sink.close()
    clock[0] = 900.0
    sink.open()
    sink.send(sample_events(2))
    clock[0] = 901.0
    inner.decide(Outcome.STORED)
    sink.verdicts(0.0)
    assert 2.0 == value(metrics, "sink_send_seconds_sum", sink="memory")


class Watched(MemorySink):
    """A sink that looks, and advises."""

    wrong: str | None = None
    findings: tuple[Finding, ...] = ()

    def look(self) -> None:
        if self.wrong:
            raise SinkUnavailable(self.wrong)

    def advice(self) -> tuple[Finding, ...]:
        return self.findings


def test_a_look_that_finds_something_wrong_makes_the_bridge_not_ready(metrics: Metrics, status: Status) -> None:
    """And one that is content again ends what a look has found, but no other outage."""
    inner = Watched(at_once=False)
    sink = ObservedSink(inner, metrics, status)
    sink.open()
    inner.wrong = "the topic is another one"
    with pytest.raises(SinkUnavailable):
        sink.look()
    assert {"memory": "the topic is another one"} == status.sink_reasons
    inner.wrong = None
    sink.look()
    assert {"memory": None} == status.sink_reasons
    sink.send(sample_events(1))
    inner.decide(Outcome.RETRY, 1)
    sink.verdicts(0)
    sink.look()
    assert status.sink_reasons["memory"] is not None


def test_a_stream_of_several_in_trouble_is_said_until_it_stores_again(metrics: Metrics, status: Status) -> None:
    """What the others store, and looks that are content, hide it not; with its end the bridge is ready again."""

    class OfTopics(Watched):
        troubles: ClassVar[dict[str, str]] = {}

    inner = OfTopics()
    sink = ObservedSink(inner, metrics, status)
    sink.open()
    sink.available()
    inner.troubles["worker"] = "topic 'worker' has no leader"
    for _ in range(3):
        sink.send(sample_events(1))
        sink.verdicts(0)
        assert {"memory": "topic 'worker' has no leader"} == status.sink_reasons
        sink.look()
        assert {"memory": "topic 'worker' has no leader"} == status.sink_reasons
    del inner.troubles["worker"]
    sink.look()
    assert {"memory": None} == status.sink_reasons
    assert 1 == value(metrics, "reconnects_total", end="memory")


def test_what_a_sink_advises_is_warned_of_once(
    metrics: Metrics, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    """`run` says what `check` says, after each opening, and what comes up later."""
    inner = Watched()
    sink = ObservedSink(inner, metrics, status)
    inner.findings = (Finding("ok", "fine"), Finding("warn", "one replica"))
    for _ in range(2):
        sink.open()
        sink.look()
    inner.findings += (Finding("FAIL", "compacted"),)
    sink.open()
    sink.look()
    assert ["sink memory: one replica", "sink memory: compacted"] == [r.getMessage() for r in caplog.records]
    assert 4 == value(metrics, "notices_total", kind="stream-advice")


def test_what_a_sink_no_longer_advises_is_said_and_warned_of_anew_when_it_is_back(
    metrics: Metrics, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    """Within the day in which it would not be repeated."""
    caplog.set_level("INFO")
    inner = Watched()
    sink = ObservedSink(inner, metrics, status)
    for findings in ((Finding("warn", "one replica"),), (), (Finding("warn", "one replica"),)):
        inner.findings = findings
        sink.open()
        sink.look()
    said = "sink memory: one replica"
    assert [said, f"no longer so: {said}", said] == [record.getMessage() for record in caplog.records]
