"""What an audit counts beside what is missing: copies, order, delays, and what is too young to judge."""

from __future__ import annotations

import io
import math

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.delays import Delays
from celery_event_bridge.audit.order import Duplicates
from celery_event_bridge.cli.audit_table import show
from tests.support.worker_events import SECOND, T0, Sender, audited, record, text, working


def test_a_stream_with_nothing_in_it() -> None:
    """There is a report, and it does not say that nothing is missing: nothing was read."""
    report = Auditor().report(T0, SECOND)
    assert (0, False, False) == (report.events, report.missing, report.judged)
    assert msgspec.json.encode(report.json())
    assert "nothing was read" in text([])
    assert "nothing is missing" not in text([])


@pytest.mark.parametrize(("age", "said"), [(5, "nothing was judged: all of the 1 events"), (20, "nothing is missing")])
def test_events_that_are_too_young_say_nothing(age: int, said: str) -> None:
    """They are counted, and the report says that none was judged until one of them is old enough."""
    auditor = Auditor()
    auditor.add(record({"type": "worker-online", "hostname": "w1@test", "timestamp": (T0 - age * SECOND) / SECOND}))
    output = io.StringIO()
    report = auditor.report(T0, 10 * SECOND)
    show(report, output)
    assert said in output.getvalue().replace("\n", " ")
    assert report.json()["judged"] == (age == 20)


@pytest.mark.parametrize(("after", "before_its_time"), [(-1, 0), (-999, 0), (-1000, 1), (-2000, 1), (0, 0), (1500, 0)])
def test_a_time_that_is_rounded_is_not_before_the_event(after: int, before_its_time: int) -> None:
    """Redis and Kafka keep milliseconds: an event of the same one was not stored before its time."""
    auditor = Auditor()
    stored = T0 - T0 % 1000
    at = (stored - after) / SECOND
    auditor.add(record({"type": "worker-online", "hostname": "w1@test", "timestamp": at}, stored=stored))
    assert auditor.report(T0 + SECOND, 0).delays.ahead == before_its_time


def test_records_that_were_gone_before_they_were_read_are_missing() -> None:
    """The report has their number, and something is missing: an audit cannot vouch for what it has not seen."""
    auditor = Auditor()
    auditor.skipped = 70
    report = auditor.report(T0, SECOND)
    assert report.missing
    assert report.json()["events"]["gone_before_read"] == 70
    output = io.StringIO()
    show(report, output)
    assert "Gone from the stream before they were read: 70" in output.getvalue()
    assert "something is missing" in output.getvalue()


def test_what_is_there_twice() -> None:
    """It is counted once, and said to be there twice."""
    events = working().events
    report = audited([*events, *events[3:10]])
    assert (7, len(events), False) == (report.duplicates, report.events, report.missing)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), 1 + 1 + 1),
        (Wanted(since=T0), 1 + 1),
        (Wanted(until=T0 + 100 * SECOND), 1 + 1),
        (Wanted(since=T0, until=T0 + 100 * SECOND), 1),
        (Wanted(worker=lambda name: name == "other"), 0),
    ],
)
def test_copies_and_nonsense_outside_of_what_is_asked_for(wanted: Wanted, expected: int) -> None:
    """They are no more counted than events are: by the period, and by the worker."""
    auditor = Auditor(wanted)
    for number, at in enumerate((T0 - SECOND, T0, T0 + 100 * SECOND)):
        one = record({"type": "x", "hostname": "w1", "timestamp": at / 1e6}, stored=at)
        auditor.add(one)
        auditor.add(one)
        auditor.add(record({"type": "x", "n": number}, stored=at, source="w1", problem="not of a bridge"))
    report = auditor.report(T0 + 3600 * SECOND, SECOND)
    assert (expected,) * 3 == (report.duplicates, report.undecodable, len(report.problems))
    assert 2 * expected == report.events


def test_a_copy_is_of_the_time_when_the_event_happened() -> None:
    """One that was stored after the period counts where the event itself does."""
    auditor = Auditor(Wanted(until=T0 + SECOND))
    for stored in (T0, T0 + 2 * SECOND):
        auditor.add(record({"type": "x", "timestamp": T0 / 1e6}, stored=stored, time=T0))
    report = auditor.report(T0 + 3600 * SECOND, SECOND)
    assert (1, 1) == (report.events, report.duplicates)


def test_the_memory_of_ids_is_bounded() -> None:
    """A copy is recognised within the window, and forgotten after twice as many."""
    seen = Duplicates(size=10)
    assert not any(seen.seen(f"{number:032x}") for number in range(0, 2**64 * 10, 2**64))
    assert not seen.seen("no hex at all")
    assert seen.seen("no hex at all")
    assert seen.seen(f"{5 * 2**64:032x}")
    assert not any(seen.seen(f"{number:032x}") for number in range(2**70, 2**70 + 2**64 * 20, 2**64))
    assert not seen.seen(f"{5 * 2**64:032x}")


def test_events_out_of_order() -> None:
    """By worker, with how late the latest was; a heartbeat among tasks' events is none."""
    sender = working()
    events = list(sender.events)
    events[4], events[6] = events[6], events[4]
    report = audited(events)
    assert {"w1@test": 2} == {worker: one.events for worker, one in report.inversions.items()}
    assert pytest.approx(0.02) == report.inversions["w1@test"].seconds
    beat = next(place for place, event in enumerate(sender.events) if place and event["type"] == "worker-heartbeat")
    events = list(sender.events)
    events.insert(beat - 2, events.pop(beat))
    assert {} == audited(events).inversions


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_is_set_inverts_nothing(step: int) -> None:
    """Nor does a process that begins its count again."""
    sender = working()
    sender.now += step * SECOND
    sender.work(3, 2)
    assert {} == audited(sender.events).inversions
    again = Sender(at=sender.now + 10 * SECOND)
    again.beat("worker-online")
    assert {} == audited(sender.events + again.work(2, 2).events).inversions


@given(st.lists(st.floats(0.001, 10_000), min_size=1, max_size=200), st.sampled_from([50.0, 90.0, 99.0]))
def test_percentiles(seconds: list[float], percent: float) -> None:
    """Within two per cent of the true one."""
    delays = Delays()
    for one in seconds:
        delays.add(round(one * 1e6))
    ordered = sorted(seconds)
    true = ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
    assert pytest.approx(true, rel=0.021) == delays.percentile(percent)


def test_a_delay_that_is_negative() -> None:
    """It is said that a clock is wrong."""
    auditor = Auditor()
    auditor.add(record(Sender().beat(), stored=T0 - SECOND))
    report = auditor.report(T0, SECOND)
    assert (1, 0.0) == (report.delays.ahead, report.delays.percentile(50))
