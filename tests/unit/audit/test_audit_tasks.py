"""Tasks and their events: which are missing for certain, which may be, and what has become of a task without an end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.report import Report
from celery_event_bridge.audit.tasks import Tasks
from tests.support.worker_events import SECOND, T0, Sender, audited, record, without


def online(**options: Any) -> Sender:
    sender = Sender(**options)
    sender.beat("worker-online")
    return sender


def lacks(report: Report) -> tuple[int, int, int, int]:
    """Starts, receiveds, ends, and what may be from before."""
    return report.starts.events, report.received.events, report.ends.events, report.before.events


def states(report: Report) -> dict[str, str]:
    return {one.uuid: one.state for one in report.open}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("task-started", (1, 0, 0, 0)), ("task-received", (0, 1, 0, 0))],
)
def test_what_is_missing_of_a_task(kind: str, expected: tuple[int, ...]) -> None:
    """Under its own heading, with the task, its worker and the time of its end."""
    sender = online().work(4, 3)
    report = audited(without(sender.events, kind, [4]))
    assert expected == lacks(report)
    (lack,) = report.starts.tasks or report.received.tasks
    ended = [event for event in sender.events if event["type"] == "task-succeeded"][4]
    assert (ended["uuid"], "w1@test", round(ended["timestamp"] * 1e6)) == (lack.uuid, lack.worker, lack.time)
    assert ("tasks.add" if kind == "task-started" else None) == lack.name
    assert report.missing


def test_an_end_that_is_missing() -> None:
    """Its worker runs nothing later, so it has ended; with the name and since when."""
    sender = online().work(4, 3)
    report = audited(without(sender.events, "task-succeeded", [4]))
    ((one),) = report.open
    assert ("ended", "tasks.add", 1) == (one.state, one.name, report.missing_ends)
    assert report.missing


def test_an_end_that_is_missing_while_others_run() -> None:
    """The worker says how many it runs: what is more than that has ended, whichever it is."""
    sender = online()
    for number in range(3):
        sender.receive(f"long-{number}")
        sender.start(f"long-{number}")
    sender.run("short")
    sender.work(4, 0)
    report = audited(without(sender.events, "task-succeeded", [0]), now=sender.now + 5 * SECOND)
    assert {"long-0": "running", "long-1": "running", "long-2": "running", "short": "running"} == states(report)
    assert [(4, 3)] == [(one.without_end, one.active) for one in report.excess]
    assert 1 == report.missing_ends
    assert not audited(sender.events, now=sender.now + 5 * SECOND).missing


def test_a_task_that_runs_is_not_missing() -> None:
    """Nor one that waits; for how long is said."""
    sender = online()
    sender.receive("waits")
    sender.receive("runs")
    sender.start("runs")
    sender.work(5, 0)
    report = audited(sender.events, now=sender.now)
    assert ({"waits": "waiting", "runs": "running"}, False) == (states(report), report.missing)
    (runs,) = [one for one in report.json()["tasks"]["without_end"] if one["uuid"] == "runs"]
    assert 10 <= runs["seconds"] <= 11


@pytest.mark.parametrize("end", ["killed", "offline", "replaced"])
def test_a_task_whose_worker_is_gone(end: str) -> None:
    """It is lost with its worker, which sent no end: nothing is missing in the stream."""
    sender = online()
    sender.receive("t")
    sender.start("t")
    sender.beat()
    events = sender.events
    if end == "offline":
        sender.beat("worker-offline")
    elif end == "replaced":
        events = events + online(pid=101, at=sender.now).work(2, 1).events
    report = audited(events, now=sender.now + (120 if end == "killed" else 8) * SECOND)
    assert ({"t": "gone"}, False) == (states(report), report.missing)


def test_a_task_that_is_run_again_after_its_worker_was_killed() -> None:
    """It has ended elsewhere."""
    first, second = online(), online(name="w2@test", pid=7)
    first.receive("t")
    first.start("t")
    second.now = first.now + SECOND
    second.run("t")
    report = audited(first.events + second.events)
    assert ([], (0, 0, 0, 0)) == (report.open, lacks(report))


def test_a_task_that_is_tried_again() -> None:
    """Each of its runs has all its events; where one lacks one, it is noticed."""
    sender = online()
    for kind in ("task-retried", "task-retried", "task-failed"):
        sender.run("t", kind)
        sender.beat()
    assert (0, 0, 0, 0) == lacks(audited(sender.events))
    assert (1, 0, 0, 0) == lacks(audited(without(sender.events, "task-started", [1])))
    assert (0, 1, 0, 0) == lacks(audited(without(sender.events, "task-received", [2])))
    assert (0, 0, 1, 0) == lacks(audited(without(sender.events, "task-retried", [1])))


@pytest.mark.parametrize(
    "events",
    [
        [("task-revoked", {"expired": True})],
        [("task-received", {"name": "n"}), ("task-revoked", {})],
        [("task-received", {"name": "n"}), ("task-started", {}), ("task-revoked", {"terminated": True})],
        [("task-failed", {"exception": "NotRegistered('no.such')"})],
        [("task-received", {"name": "n"}), ("task-started", {}), ("task-failed", {}), ("task-failed", {})],
        [("task-received", {"name": "n"}), ("task-started", {}), ("task-failed", {}), ("task-rejected", {})],
        [("task-received", {"name": "n"}), ("task-started", {}), ("task-rejected", {}), ("task-failed", {})],
        [("task-received", {"name": "n"}), ("task-started", {}), ("task-cancelled", {})],
        [("task-received", {"name": "n"}), ("task-received", {"name": "n"}), ("task-started", {}), ("task-failed", {})],
    ],
    ids=lambda events: "-".join(kind.removeprefix("task-") for kind, _ in events),
)
def test_ends_as_celery_has_them(events: list[tuple[str, dict[str, Any]]]) -> None:
    """Nothing is missing of a task that was revoked, is unknown to its worker, or ran out of time."""
    sender = online()
    for kind, fields in events:
        sender.send(kind, uuid="t", **fields)
    report = audited(sender.events)
    assert ((0, 0, 0, 0), [], 0) == (lacks(report), report.open, report.names.count)


@given(st.data())
def test_the_order_of_the_stream_is_no_matter(data: st.DataObject) -> None:
    """The same report, in whatever order the events come."""
    sender = online()
    for number in range(data.draw(st.integers(1, 6))):
        for _ in range(data.draw(st.integers(0, 2))):
            sender.run(f"t{number}", "task-retried")
        sender.run(f"t{number}")
        sender.beat()
    events = [event for event in sender.events if not data.draw(st.booleans()) or event["type"].startswith("worker")]
    mixed = data.draw(st.permutations(events))
    one, other = audited(events).json(), audited(mixed).json()
    for report in (one, other):
        del report["inversions"], report["since"]
        for heading in report["tasks"].values():
            if isinstance(heading, dict):
                heading["tasks"].sort(key=lambda lack: lack["uuid"])
    assert one == other


def test_what_may_be_from_before_the_period() -> None:
    """A task whose first event is a start or an end, of a worker that ran before: nobody can tell."""
    sender = online().work(4, 3)
    middle = next(place for place, event in enumerate(sender.events) if event["type"] == "task-started" and place > 15)
    assert (0, 0, 0, 1) == lacks(audited(sender.events[middle:]))
    assert (0, 0, 0, 2) == lacks(audited(sender.events[middle + 1 :]))
    assert not audited(sender.events[middle + 1 :]).missing


def test_a_start_that_must_have_been_within() -> None:
    """A run time says when a task began."""
    sender = online().work(4, 3)
    events = without(sender.events, "task-received", range(12))
    report = audited(without(events[14:], "task-started", [3]))
    assert 1 == report.starts.events
    assert 0 == report.received.events


def test_names_come_with_either_event() -> None:
    """Of task-sent or task-received one is enough; without both, the task has no name."""
    sender = online().work(1, 2)
    uuids = [event["uuid"] for event in sender.events if event["type"] == "task-received"]
    events = without(sender.events, "task-received", [0, 1])
    sent = {"type": "task-sent", "uuid": uuids[0], "name": "tasks.add", "hostname": "gen1@test", "pid": 1, "clock": 1}
    report = audited([sent | {"timestamp": T0 / 1e6, "retries": 0}, *events])
    assert ([uuids[1]], 2) == ([one.uuid for one in report.names.tasks], report.received.events)


def test_tasks_are_picked_by_name() -> None:
    """Those that end without an event on purpose are left out."""
    sender = online()
    sender.receive("t", name="app.ignored")
    sender.start("t")
    sender.active -= 1
    sender.work(2, 1)
    assert audited(sender.events).missing
    assert not audited(sender.events, Wanted(task=lambda name: name != "app.ignored")).missing


def test_a_period_that_ends() -> None:
    """What ends after it has ended; what begins after it is not looked at."""
    sender = online()
    sender.receive("t")
    sender.start("t")
    sender.beat()
    until = sender.now + 1000
    sender.end("t")
    sender.run("later")
    sender.receive("waits")
    sender.beat()
    report = audited(sender.events, Wanted(until=until))
    assert ({}, 4) == (states(report), report.events)


def test_complete_tasks_are_forgotten() -> None:
    """Memory is for the others."""
    tasks = Tasks(recent=100)
    auditor = Auditor(tasks=tasks)
    sender = online()
    for number in range(210):
        sender.run(f"t{number}")
        for event in sender.events:
            auditor.add(record(event))
        sender.events.clear()
    assert 0 == len(tasks)
    assert 100 < tasks.kept <= 200


def test_too_many_tasks_are_given_up() -> None:
    """The oldest, and how many is said."""
    auditor = Auditor(tasks=Tasks(most=50))
    sender = online()
    for number in range(60):
        sender.receive(f"t{number}")
    for event in sender.events:
        auditor.add(record(event))
    auditor.tidy()
    report = auditor.report(sender.now + SECOND, SECOND)
    assert (5, 55) == (report.given_up, len(report.open))
    assert "t0" not in states(report)


def test_an_end_that_is_missing_of_a_worker_that_is_gone() -> None:
    """Its last heartbeat says how many it ran."""
    sender = online()
    for uuid in ("runs", "ended"):
        sender.receive(uuid)
        sender.start(uuid)
    sender.end("ended")
    sender.beat()
    assert not audited(sender.events).missing
    report = audited(without(sender.events, "task-succeeded", [0]))
    assert ({"runs": "gone", "ended": "gone"}, 1) == (states(report), report.missing_ends)
