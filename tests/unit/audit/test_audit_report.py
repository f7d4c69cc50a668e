"""The audit's report: for people in tables, for programs in JSON, and its picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import ItemsView
from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.audit.delays import Delays
from celery_event_bridge.audit.facts import WORKERS, sender
from celery_event_bridge.audit.picture import picture
from celery_event_bridge.audit.tasks import TYPES
from celery_event_bridge.audit.workers import BEATS
from celery_event_bridge.cli import fitted
from celery_event_bridge.cli.fitted import Column
from tests.support.worker_events import SECOND, T0, Sender, audited, record, text, without, working


def test_the_picture() -> None:
    """It is well-formed, with a bar for each delay there is; also of nothing."""
    delays = Delays()
    for microseconds in (500, 5_000, 5_000, 50_000, 100_000_000):
        delays.add(microseconds)
    rectangles = [one for one in ET.fromstring(picture(delays)).iter() if one.tag.endswith("rect")]
    assert 1 + 4 == len(rectangles)
    assert ET.fromstring(picture(Delays())) is not None


def test_a_report_for_people() -> None:
    """It names what is missing, of whom and when; what events bring along cannot change the terminal."""
    sender = working()
    sender.receive("evil\x1b[31m", name="na\nme")
    sender.start("evil\x1b[31m")
    sender.work(2, 0)
    said = text(without(sender.events, "task-started", [3]))
    for expected in ("account (task-started): 1", "w1@test", "task-started is missing: 1", "something is missing"):
        assert expected in said
    assert "\x1b" not in said
    assert "na\\nme" in said


def test_a_report_for_programs() -> None:
    """Times are RFC 3339, and the shape is the one that is documented."""
    report = audited(without(working().events, "task-started", [3])).json()
    (stretch,) = report["account"]["stretches"]
    assert {"worker": "w1@test", "pid": 100, "missing": 1} == {
        key: stretch[key] for key in ("worker", "pid", "missing")
    }
    assert stretch["from"].startswith("2027-01-15T08:00:0")
    assert stretch["from"].endswith("Z")
    assert report["missing"] is True
    assert {"w1@test": 1} == report["account"]["by_worker"]


LONG = "billing-7d9f6c5b4d-x2x9q@ip-10-0-12-211.eu-central-1.compute.internal"
UUIDS = ("0b7e8a52-94c9-4d65-a2f8-5a9d4b1f0e11", "5f0c1d7e-2b64-4b0e-8a35-90f2f6f2ad42")
TASK = "billing.invoices.tasks.send_the_monthly_reminders"


def eventful(worker: str = LONG, task: str = TASK) -> list[dict[str, Any]]:
    """Something under each heading, of a worker and a task whose names are long."""
    sender = Sender(worker)
    sender.beat("worker-online")
    for uuid in UUIDS:
        sender.receive(uuid, name=task)
        sender.start(uuid)
        sender.end(uuid)
    sender.work(5, 4)
    gone = without(sender.events, "task-started", [1])
    gone = without(gone, "task-received", [0])
    return without(gone, "task-succeeded", [5])


@pytest.mark.parametrize("columns", ["", "60", "80", "100", "200"])
def test_no_word_of_a_table_is_broken(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, names and times are there whole, and no line is longer than the width: 80 columns, if nothing says."""
    monkeypatch.setenv("COLUMNS", columns)
    said = text(eventful("w1@ip-10-0-12-211", "billing.tasks.remind"))
    assert max(map(len, said.splitlines())) <= int(columns or 80)
    said = text(eventful())
    words = said.split()
    for whole in (LONG, *UUIDS, TASK, "2027-01-15"):
        assert whole in words
    assert max(map(len, said.splitlines())) <= max(int(columns or 80), len(LONG) + len("    23  "))
    for kind in ("task-received", "worker-heartbeat"):
        assert kind in words or kind.partition("-")[2] in words  # below the line with `task-`, where there is room


@given(
    st.lists(st.lists(st.text("ab -", max_size=60), min_size=3, max_size=3), max_size=5),
    st.integers(20, 200),
)
def test_a_table_has_each_word_in_order(rows: list[list[str]], width: int) -> None:
    """Whatever the cells and the width are; a line beyond the width is a single word."""
    columns = [Column("first"), Column("second", right=True), Column("third")]
    lines = list(fitted.table(columns, rows, width))
    heading, (rule, *body) = [], lines
    while set(rule) != {"-"} or rule == "-":
        heading.append(rule)
        rule, *body = body
    assert ["first", "second", "third"] == " ".join(heading).split()
    assert [word for row in rows for cell in row for word in cell.split()] == " ".join(body).split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in body)


def test_clients_are_one_row_a_host() -> None:
    """Celery calls each process that is no worker `gen4242@host`; a worker of such a name keeps it."""
    worker = Sender("gen7@test")
    worker.beat("worker-online")
    worker.work(5, 4)
    clients = [
        Sender(f"gen{pid}@{host}", pid).send(kind, uuid=f"{pid}")
        for pid in range(5000, 5040)
        for host, kind in (("web-1", "task-sent"), ("web-2", "order-placed"))
    ]
    report = audited(worker.events + clients)
    assert {"gen7@test", "gen*@web-1", "gen*@web-2"} == set(report.workers())
    assert (40, 40) == (report.counts["gen*@web-1", "task-sent"], report.counts["gen*@web-2", "order-placed"])
    assert {"task-sent": 40} == report.json()["events"]["by_worker"]["gen*@web-1"]
    said = text(worker.events + clients)
    assert 1 == said.count("gen*@web-1")
    assert "gen50" not in said


@pytest.mark.parametrize(
    ("worker", "kind", "expected"),
    [
        ("gen1@h", "task-sent", "gen*@h"),
        ("gen12@gen3@h", "my-own", "gen*@gen3@h"),
        ("gen1@h", "task-started", "gen1@h"),
        ("gen1@h", "worker-heartbeat", "gen1@h"),
        ("gena1@h", "task-sent", "gena1@h"),
        ("gen@h", "task-sent", "gen@h"),
        ("w1@h", "task-sent", "w1@h"),
        ("unknown", "task-sent", "unknown"),
    ],
)
def test_a_client_is_known_by_its_name_and_what_it_sends(worker: str, kind: str, expected: str) -> None:
    """Workers alone send heartbeats and what becomes of tasks."""
    assert (BEATS | TYPES) - {"task-sent"} == WORKERS
    assert expected == sender(worker, kind)


def test_a_client_that_is_late_is_of_its_host_too() -> None:
    """Out of order is said by host, as the counts are."""
    client = Sender("gen4242@web", 4242)
    sent = [client.send("task-sent", uuid=str(number)) for number in range(3)]
    found = audited([sent[0], sent[2], sent[1]]).inversions
    assert {"gen*@web": 1} == {name: one.events for name, one in found.items()}


class Counts(dict[tuple[str, str], int]):
    """Knows how often it was gone through."""

    passes = 0

    def items(self) -> ItemsView[tuple[str, str], int]:
        self.passes += 1
        return super().items()


def test_a_report_on_many_workers_is_not_slow() -> None:
    """The counts are gone through a few times, not once a worker; they come in order."""
    auditor = Auditor()
    for number in range(50):
        auditor.add(record({"type": "ba"[number % 2], "hostname": f"w{number // 2:02}", "n": number}))
    report = auditor.report(T0, SECOND)
    counts = report.counts = Counts(report.counts)
    found = report.json()["events"]["by_worker"]
    assert [(f"w{number:02}", {"a": 1, "b": 1}) for number in range(25)] == list(found.items())
    assert ["a", "b"] == list(found["w00"])
    assert counts.passes < 5
