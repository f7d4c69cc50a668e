"""Duplicates, order, delays, what cannot be decoded, and how a report looks."""

from __future__ import annotations

import io
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import ItemsView
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.delays import Delays
from celery_event_bridge.audit.facts import WORKERS, fact, sender
from celery_event_bridge.audit.order import Duplicates
from celery_event_bridge.audit.picture import picture
from celery_event_bridge.audit.tasks import TYPES
from celery_event_bridge.audit.workers import BEATS
from celery_event_bridge.cli import fitted
from celery_event_bridge.cli.audit_table import show
from celery_event_bridge.cli.fitted import Column
from celery_event_bridge.contract import MSGPACK
from tests.support.worker_events import FIELDS, SECOND, T0, Sender, audited, json_values, record, without


def working() -> Sender:
    sender = Sender()
    sender.beat("worker-online")
    return sender.work(5, 4)


def text(*arguments: object, **options: object) -> str:
    output = io.StringIO()
    show(audited(*arguments, **options), output)  # type: ignore[arg-type]
    return output.getvalue()


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


def test_the_picture() -> None:
    """It is well-formed, with a bar for each delay there is; also of nothing."""
    delays = Delays()
    for microseconds in (500, 5_000, 5_000, 50_000, 100_000_000):
        delays.add(microseconds)
    rectangles = [one for one in ET.fromstring(picture(delays)).iter() if one.tag.endswith("rect")]
    assert 1 + 4 == len(rectangles)
    assert ET.fromstring(picture(Delays())) is not None


def test_what_cannot_be_decoded() -> None:
    """It is counted with its reason, by whatever type it says, and the rest is looked at."""
    auditor = Auditor()
    for position, data in enumerate((b"{", b"[1]", b"\xff" * 10, b'{"a":' * 2000, b"")):
        auditor.add(record({"type": "task-started", "n": position}, data=data))
    auditor.add(record({"type": ""}, problem="not of a bridge"))
    report = auditor.report(T0 + 60 * SECOND, SECOND)
    assert (6, 6, {"task-started": 5, "": 1}) == (report.undecodable, report.events, report.types())
    assert all(": " in line for line in report.problems)


def test_msgpack() -> None:
    """As JSON."""
    sender = working()
    auditor = Auditor()
    for event in without(sender.events, "task-started", [3]):
        auditor.add(record(event, data=msgspec.msgpack.encode(event), content_type=MSGPACK))
    assert {"w1@test": 1} == auditor.report(sender.now + 60 * SECOND, SECOND).missing_starts


def test_types_that_are_not_celerys() -> None:
    """They are counted and alarm nobody; very many of them share a line."""
    events = working().events
    foreign = [{"type": f"order-{number}", "hostname": "shop", "uuid": f"u{number}"} for number in range(20_000)]
    report = audited(events + foreign)
    assert (len(events) + 20_000, False, []) == (report.events, report.missing, report.open)
    assert 10_001 >= len(report.counts)
    assert 0 < report.types()["other"]


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


JUNK = st.sampled_from(
    [
        "x",
        -1,
        1.5,
        None,
        True,
        [],
        {},
        math.nan,
        math.inf,
        10**40,
        10**400,
        "\ud800",
        "\x1b[31m",
        0,
        2**62,
        2**63,
        1e18,
        -5,
    ]
)


@given(st.integers(0, 2**32), st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=3))
def test_nonsense(seed: int, wrong: dict[str, object]) -> None:
    """Whatever the stream holds, there is a report, as JSON and for people."""
    random = Random(seed)
    auditor = Auditor(Wanted(since=random.choice([None, T0]), late=random.choice([0, SECOND])))
    for number in range(60):
        event = {
            "type": random.choice([*sorted(TYPES), "worker-online", "worker-heartbeat", "worker-offline", "x", ""]),
            "hostname": random.choice("ab"),
            "pid": random.choice([1, 2]),
            "clock": random.randrange(1000),
            "timestamp": (T0 + random.randrange(100 * SECOND)) / 1e6,
            "uuid": random.choice("abcdef"),
            "processed": random.randrange(100),
            "active": random.randrange(3),
            "name": "n",
            "runtime": 0.1,
        }
        if number % 3:
            event |= wrong
        stored = random.choice([None, T0 + random.randrange(100 * SECOND), 0, -5, 10**30])
        auditor.add(record(event, position=number, partition=random.choice("pq"), stored=stored or T0))
        if number % 20 == 0:
            auditor.tidy()
    report = auditor.report(T0 + random.randrange(200 * SECOND), SECOND)
    assert msgspec.json.encode(report.json())
    output = io.StringIO()
    show(report, output)
    assert "\x1b" not in output.getvalue()


@given(st.dictionaries(st.sampled_from(FIELDS), json_values(), max_size=4) | json_values())
def test_a_fact_of_any_event(body: object) -> None:
    """Whatever the fields hold, there is a fact, and a report can hold it."""
    assert msgspec.json.encode(fact(record({}, data=json.dumps(body).encode())))


@pytest.mark.parametrize("field", ["timestamp", "runtime"])
def test_an_integer_that_no_float_can_hold(field: str) -> None:
    """It counts as absent, as a field of a wrong type does."""
    found = fact(record({}, data=json.dumps({"runtime": 1.5, "timestamp": 5.0, field: 10**400}).encode()))
    assert (None, None if field == "timestamp" else 5_000_000) == (found.problem, found.time)
    assert (None if field == "runtime" else 1.5) == found.runtime


def test_text_that_is_not_utf_8() -> None:
    """The event cannot be decoded, wherever in it that is."""
    for data in (b'{"name":"\xff"}', b'{"exception":"\xff"}'):
        assert "not JSON: " in (fact(record({}, data=data)).problem or "")
