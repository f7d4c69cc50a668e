"""Nonsense in a stream: no event, however wrong, ends an audit."""

from __future__ import annotations

import io
import json
import math
from random import Random

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.audit.auditor import Auditor, Wanted
from celery_event_bridge.audit.facts import fact
from celery_event_bridge.audit.tasks import TYPES
from celery_event_bridge.cli.audit_table import show
from celery_event_bridge.contract import MSGPACK
from tests.support.worker_events import FIELDS, SECOND, T0, audited, json_values, record, without, working


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
