"""The workers' own account: what is missing is found, where it is missing, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from tests.support.worker_events import SECOND, T0, Sender, audited, record, without


def missing(report: Any) -> int:
    return sum(report.missing_starts.values())


def worker(beats: int = 10, tasks: int = 5, **options: Any) -> Sender:
    sender = Sender(**options)
    sender.beat("worker-online")
    return sender.work(beats, tasks)


def test_nothing_is_missing_where_all_is_there() -> None:
    """Of a worker from its start to its end."""
    sender = worker()
    sender.beat("worker-offline")
    report = audited(sender.events)
    assert (False, [], 0) == (report.missing, report.stretches, report.missing_ends)
    assert {"task-received": 50, "task-started": 50, "task-succeeded": 50} == {
        kind: count for kind, count in report.types().items() if kind.startswith("task")
    }


def test_where_they_are_missing() -> None:
    """The worker, the process, the count, and the heartbeats before and after."""
    one, other = worker(), worker(name="w2@test", pid=200)
    events = sorted(without(one.events, "task-started", [12, 13]) + other.events, key=lambda event: event["timestamp"])
    report = audited(events)
    beats = [round(event["timestamp"] * 1e6) for event in one.events if event["type"].startswith("worker")]
    (stretch,) = report.stretches
    assert ("w1@test", 100, 2) == (stretch.worker, stretch.pid, stretch.missing)
    assert (beats[2], beats[3]) == (stretch.start, stretch.end)
    assert {"w1@test": 2} == report.missing_starts
    assert report.missing


@given(st.data())
def test_whatever_is_missing_is_counted(data: st.DataObject) -> None:
    """Any starts of any of several workers, whatever the order of the stream, to the number and to the stretch."""
    senders = [
        worker(data.draw(st.integers(2, 8)), data.draw(st.integers(0, 6)), name=f"w{number}", pid=number)
        for number in range(3)
    ]
    kept, expected = [], {}
    for sender in senders:
        total = sum(event["type"] == "task-started" for event in sender.events)
        gone = data.draw(st.sets(st.integers(0, max(0, total - 1)))) if total else set()
        kept += without(sender.events, "task-started", gone)
        expected |= {sender.name: len(gone)} if gone else {}
    random.Random(data.draw(st.integers(0, 99))).shuffle(kept)
    report = audited(kept)
    assert expected == report.missing_starts
    for stretch in report.stretches:
        sender = next(one for one in senders if one.name == stretch.worker)
        within = [
            event
            for event in sender.events
            if event["type"] == "task-started" and stretch.start <= event["timestamp"] * 1e6 <= stretch.end
        ]
        assert stretch.missing <= len(within)


@given(st.lists(st.integers(0, 3), min_size=3, max_size=40), st.integers(0, 5))
def test_a_count_that_is_ahead_for_a_moment_is_no_loss(ahead: list[int], rest: int) -> None:
    """A heartbeat between a count and its event, as with threads, alarms nobody; not even as the last one."""
    sender = Sender()
    sender.beat("worker-online")
    number = 0
    for jitter in [one if place % 4 else 0 for place, one in enumerate([*ahead, rest])]:
        for _ in range(4):
            sender.run(f"t{number}")
            number += 1
        sender.processed += jitter
        sender.active += jitter
        sender.beat()
        sender.processed -= jitter
        sender.active -= jitter
        for _ in range(jitter):
            sender.run(f"t{number}")
            number += 1
    report = audited(sender.events)
    assert [] == report.stretches


def test_a_count_that_is_behind_once_hides_nothing() -> None:
    """What went missing before it is put where it went missing."""
    sender = worker(20)
    events = without(sender.events, "task-started", [7])
    beats = [event for event in events if event["type"] == "worker-heartbeat"]
    beats[15]["processed"] -= 1
    (stretch,) = audited(events).stretches
    assert (1, round(beats[1]["timestamp"] * 1e6)) == (stretch.missing, stretch.end)


def test_a_period_that_begins_in_the_middle() -> None:
    """The first heartbeats say where the count stood; what is missing later is found."""
    events = worker(30).events[120:]
    assert not audited(events).missing_starts
    gone = without(events, "task-started", [40, 41, 42])
    assert {"w1@test": 3} == audited(gone).missing_starts


@pytest.mark.parametrize("first", range(100, 140))
def test_a_period_that_begins_anywhere(first: int) -> None:
    """Between any two events."""
    assert not audited(worker(30).events[first:]).missing_starts


@pytest.mark.parametrize("last", range(100, 140))
def test_a_stream_that_ends_anywhere(last: int) -> None:
    """Between any two events."""
    assert not audited(worker(30).events[:last]).missing_starts


@pytest.mark.parametrize(("pid", "clock"), [(100, 0), (101, 0), (100, 900), (101, 900)])
def test_a_worker_that_comes_back(pid: int, clock: int) -> None:
    """Under the same name, with the same process id or another, with a clock of its own or that of the others."""
    before = worker(10, clock=0)
    after = worker(10, pid=pid, at=before.now + 5 * SECOND, clock=clock)
    assert not audited(before.events + after.events).missing_starts
    gone = without(before.events, "task-started", [3]) + without(after.events, "task-started", [20, 30])
    report = audited(gone)
    assert 3 == missing(report)
    assert [1, 1, 1] == [stretch.missing for stretch in report.stretches]
    assert before.now < report.stretches[1].start


def test_a_worker_that_comes_back_without_its_first_heartbeat() -> None:
    """Its count has fallen, so it is another process though it has the same id."""
    before = worker(10)
    after = worker(20, at=before.now + 5 * SECOND)
    assert not audited(before.events + after.events[1:][20:]).missing_starts


@pytest.mark.parametrize("step", [-3600, -10, 10, 3600])
def test_a_clock_that_is_set(step: int) -> None:
    """The worker's own count of events puts them in order."""
    before, after = worker(10), Sender()
    vars(after).update(vars(before) | {"events": [], "now": before.now + step * SECOND})
    after.work(10, 5)
    events = before.events + after.events
    assert not audited(events).missing_starts
    assert 2 == missing(audited(without(events, "task-started", [30, 80])))


def test_events_that_come_an_hour_later() -> None:
    """Through overflow: they are counted where they belong, also after their time was put away."""
    sender = worker(200)
    late = [event for event in sender.events if event["type"] == "task-started" and 20 <= event["clock"] < 60]
    assert late
    auditor = Auditor(Wanted(late=60 * SECOND))
    early = [event for event in sender.events if event not in late]
    for position, event in enumerate(early, 1):
        auditor.add(record(event, position))
        if position % 100 == 0:
            auditor.tidy()
    now = sender.now + 10 * SECOND
    assert len(late) == missing(auditor.report(now, SECOND))
    for position, event in enumerate(late, len(early)):
        auditor.add(record(event, position, stored=sender.now))
    assert 0 == missing(auditor.report(now, SECOND))


def test_what_is_put_away_stays_found() -> None:
    """With or without forgetting, the same stretches."""
    sender = worker(300)
    events = without(sender.events, "task-started", [5, 6, 700, 1400])
    auditor = Auditor(Wanted(late=30 * SECOND))
    for position, event in enumerate(events, 1):
        auditor.add(record(event, position))
        if position % 50 == 0:
            auditor.tidy()
    report = auditor.report(sender.now + 3600 * SECOND, SECOND)
    assert audited(events).stretches == report.stretches
    assert 4 == missing(report)
    (life,) = auditor._workers
    assert len(life._beats) < 50
    assert len(life._orders) < 200


def test_what_is_fresh_is_not_judged() -> None:
    """Events may be on their way still."""
    sender = worker(10)
    events = without(sender.events, "task-started", [49])
    assert 0 == missing(audited(events, now=sender.now))
    assert 1 == missing(audited(events, now=sender.now + 2 * SECOND))


def test_a_worker_that_sends_no_events_of_tasks() -> None:
    """It is missing all, and the report says what it may be."""
    sender = worker()
    report = audited([event for event in sender.events if event["type"].startswith("worker")])
    assert (50, {"w1@test": [100]}) == (missing(report), report.silent)


@pytest.mark.parametrize("pid", [200, 100])
def test_a_worker_that_was_restarted_with_events_of_tasks(pid: int) -> None:
    """What it has not sent before stays missing, and so does the hint; in a container each process has the same id."""
    before = worker()
    after = worker(pid=pid, at=before.now + 5 * SECOND)
    report = audited([event for event in before.events if event["type"].startswith("worker")] + after.events)
    assert (50, {"w1@test": [100]}) == (missing(report), report.silent)
    assert {} == audited(without(before.events, "task-started", [3]) + after.events).silent


def test_a_worker_without_heartbeats() -> None:
    """It gives no account, and the report says so."""
    report = audited([event for event in worker().events if event["type"].startswith("task")])
    assert ([], ["w1@test"], False) == (report.stretches, report.unaccounted, report.missing)


def test_starts_that_are_not_stored_on_purpose() -> None:
    """What BRIDGE_EVENT_TYPES leaves out is not missing."""
    events = [event for event in worker().events if event["type"] != "task-started"]
    assert audited(events).missing
    assert not audited(events, Wanted(type=lambda kind: kind != "task-started")).missing


def test_workers_are_picked() -> None:
    """The others are not looked at."""
    one, other = worker(), worker(name="w2@test")
    events = without(one.events, "task-started", [1]) + without(other.events, "task-started", [1, 2])
    assert {"w2@test": 2} == audited(events, Wanted(worker=lambda name: name == "w2@test")).missing_starts


@pytest.mark.parametrize("wrong", ["x", -1, 1.5, None, True, [], float("nan"), 10**40])
@pytest.mark.parametrize("field", ["processed", "active", "clock", "pid", "timestamp", "uuid", "name", "hostname"])
def test_a_field_of_a_wrong_type_counts_as_absent(field: str, wrong: object) -> None:
    """Whatever it is, there is a report."""
    sender = worker(3)
    for event in sender.events[::2]:
        event[field] = wrong
    assert audited(sender.events).json()


def test_when_a_period_is_given() -> None:
    """Only what went missing within it counts; what comes after it ends what was there before."""
    sender = worker(30)
    middle = [round(event["timestamp"] * 1e6) for event in sender.events if event["type"] == "worker-heartbeat"]
    events = without(sender.events, "task-started", [1, 75, 145])
    report = audited(events, Wanted(since=middle[8], until=middle[20]))
    assert (1, 0, 0) == (missing(report), report.missing_ends, len(report.open))
    assert T0 < middle[8] <= report.stretches[0].start


@pytest.mark.parametrize("apart", [True, False])
def test_workers_of_one_name_on_two_brokers_are_two(*, apart: bool) -> None:
    """In containers each has the same process id too; taken for one, they would miss what nobody has lost."""
    one, other = worker(beats=10, tasks=5), worker(beats=8, tasks=3)
    auditor = Auditor(Wanted(apart=apart))
    pairs = [(event, "eu") for event in one.events] + [
        (event, "us") for event in without(other.events, "task-started", [4])
    ]
    for position, (event, broker) in enumerate(sorted(pairs, key=lambda pair: pair[0]["timestamp"]), 1):
        auditor.add(record(event, position, id=f"{broker}{position}", broker=broker))
    report = auditor.report(auditor.newest + SECOND, 0)
    assert ({"w1@test (us)": 1} == report.missing_starts) is apart
    assert all(("(eu)" in name or "(us)" in name) is apart for name, _ in report.counts)
