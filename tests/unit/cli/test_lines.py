"""`tail`'s lines: what they say, which events get one, and that nothing in them moves the cursor."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.cli.lines import Asked, Lines
from celery_event_bridge.contract import JSON, MSGPACK, Record
from celery_event_bridge.reading.event import Clock, StoredEvent
from tests.support.worker_events import FIELDS, json_values

UUID = "6c1a4f0e"


def event(event_type: str, uuid: str | None = UUID, **fields: Any) -> StoredEvent:
    body = {"type": event_type, "hostname": "w1", **({"uuid": uuid} if uuid else {}), **fields}
    return stored(json.dumps(body).encode(), event_type, uuid)


def stored(data: bytes, event_type: str = "x", uuid: str | None = None, kind: str = JSON, **more: Any) -> StoredEvent:
    record = Record(0, 1, "id", event_type, "w1", uuid, 1_700_000_000_123_456, data, kind, **more)
    return StoredEvent(record, 0, Clock())


def text(line: str | None) -> str:
    """Without the time, which is the local one."""
    assert line is not None
    assert line[4] == line[7] == "-"
    assert ".123  " in line
    return line.partition(".123  ")[2]


def test_a_line_has_what_one_looks_for() -> None:
    """Type, name by the task-received before, uuid, worker, run time or error."""
    lines = Lines(Asked())
    assert f"task-received     app.add  {UUID}  w1" == text(lines.line(event("task-received", name="app.add")))
    assert f"task-succeeded    app.add  {UUID}  w1  0.250s" == text(lines.line(event("task-succeeded", runtime=0.25)))
    failed = lines.line(event("task-failed", exception="ValueError('no')", traceback="Traceback..."))
    assert f"task-failed       app.add  {UUID}  w1  ValueError('no')" == text(failed)
    assert "task-started      -  other  w1" == text(lines.line(event("task-started", "other")))
    assert "worker-online     w1" == text(lines.line(event("worker-online", None)))


def test_which_events_get_a_line() -> None:
    """By type, by the task's name or a pattern of it, by uuid; a name is learnt from events that get none."""
    received, started = event("task-received", name="app.add"), event("task-started")
    other = event("task-started", "other")
    lines = Lines(Asked(["task-*", "!task-received"]))
    assert [None, True] == [lines.line(received), lines.line(started) is not None]
    for name, expected in (("app.add", True), ("app.*", True), ("mail.*", False)):
        lines = Lines(Asked(["task-started"], name))
        found = [lines.line(one) is not None for one in (received, started, other)]
        assert [False, expected, False] == found
        assert 1 == lines.nameless, "the other task's name was not read"
    assert [True, False] == [Lines(Asked(uuid=UUID)).line(one) is not None for one in (started, other)]


def test_nothing_in_a_line_moves_the_cursor() -> None:
    """Whoever can publish an event writes to this terminal: control characters are shown as text."""
    line = Lines(Asked()).line(event("task-failed", exception="a\nb\x1b[31m\x9b\r\u2028\ud800"))
    assert text(line).endswith(r"a\nb\x1b[31m\x9b\r\u2028\ud800")


def test_colours_are_for_terminals() -> None:
    """Red for a failure, and none in a pipe."""
    line = Lines(Asked()).line(event("task-failed"), colour=True)
    assert line is not None
    assert line.startswith("\x1b[31m")
    assert "\x1b" not in (Lines(Asked()).line(event("task-failed")) or "")


def test_a_line_of_json() -> None:
    """The parts of the record, the task's name, and the data as it was published."""
    lines = Lines(Asked(), "json")
    found = json.loads(lines.line(event("task-received", name="app.add")) or "")
    assert ("task-received", "w1", UUID, "app.add") == tuple(
        found[one] for one in ("type", "source", "subject", "task")
    )
    assert "2023-11-14T22:13:20.123456Z" == found["time"]
    assert "app.add" == found["data"]["name"]
    packed = json.loads(lines.line(stored(msgspec.msgpack.encode({"type": "x"}), kind=MSGPACK)) or "")
    assert ("gaR0eXBloXg=", False) == (packed["data_base64"], "data" in packed)


@pytest.mark.parametrize("data", [b"{", b'{"a":\n1}', b"", b"\xff"])
def test_json_is_whole_whatever_the_data_is(data: bytes) -> None:
    """What is no JSON on one line is in base64; the line says so, and says what is wrong where it is for people."""
    line = Lines(Asked(), "json").line(stored(data, problem="it is no record"))
    assert line is not None
    assert "\n" not in line
    assert {"data_base64", "problem"} <= set(json.loads(line))
    assert "it is no record" in (Lines(Asked()).line(stored(data, problem="it is no record")) or "")


def test_an_event_that_cannot_be_decoded_has_its_line() -> None:
    """With the reason."""
    assert "not JSON: " in (Lines(Asked()).line(stored(b"{")) or "")
    assert "not an object" in (Lines(Asked()).line(stored(b"1")) or "")


def test_names_are_bounded() -> None:
    """Those of the last tasks are known."""
    lines = Lines(Asked(), names=10)
    for number in range(100):
        lines.line(event("task-received", str(number), name=f"n{number}"))
    assert len(lines.names) <= 20
    assert "n99" in (lines.line(event("task-started", "99")) or "")
    assert "n91" in (lines.line(event("task-started", "91")) or "")


@pytest.mark.parametrize(
    "runtime", [10**400, -(10**400), 2**53, math.nan, math.inf, 1e308, -1.5], ids=lambda one: str(one)[:6]
)
def test_a_run_time_may_be_any_number(runtime: float) -> None:
    """An integer that no float can hold is left out, and the event has its line."""
    line = text(Lines(Asked()).line(event("task-succeeded", runtime=runtime)))
    shown = "" if isinstance(runtime, int) else f"  {runtime:.3f}s"
    assert f"task-succeeded    -  {UUID}  w1{shown}" == line


def test_lone_surrogates_have_no_place_in_json() -> None:
    """In a task's name or a part of the record they become U+FFFD, and the line can be written as UTF-8."""
    lines = Lines(Asked(), "json")
    received = event("task-received", name="n\ud800", eta=math.nan)
    line = lines.line(received)
    assert line is not None
    assert b'"task":"n\xef\xbf\xbd"' in line.encode()
    record = Record(0, 1, "i\ud800", "t\ud800", "w\ud800", "u\ud800", 0, b"{}", JSON, problem="p\ud800")
    found = json.loads((lines.line(StoredEvent(record, 0, Clock())) or "").encode())
    assert ["i\ufffd", "t\ufffd", "w\ufffd", "u\ufffd", "p\ufffd"] == [
        found[one] for one in ("id", "type", "source", "subject", "problem")
    ]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The local time zone goes back to what it was."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("name", "seconds"), [("Asia/Tokyo", 253402300799), ("America/New_York", -62135596800)])
def test_a_time_that_the_local_calendar_does_not_have(zone: pytest.MonkeyPatch, name: str, seconds: int) -> None:
    """The last hours of the year 9999 east of Greenwich, and the first of the year 1 west of it, are shown as none."""
    zone.setenv("TZ", name)
    time.tzset()
    record = Record(0, 1, "id", "worker-online", "w1", None, seconds * 1_000_000, b"{}", JSON)
    assert "-  worker-online     w1" == Lines(Asked()).line(StoredEvent(record, 0, Clock()))


def test_a_brokers_name_is_in_json_where_there_is_one() -> None:
    """Its line has it, and one of a broker without a name is as before."""
    lines = Lines(Asked(), "json")
    assert "broker" not in json.loads(lines.line(event("x")) or "")
    assert "eu" == json.loads(lines.line(stored(b"{}", broker="eu")) or "")["broker"]


def test_brokers_are_picked_by_name() -> None:
    """Tasks' names are learnt of all of them; a pattern that matches no name that came is said."""
    lines = Lines(Asked(brokers=["eu", "asia"]), "json")
    assert lines.line(stored(b'{"name": "app.add"}', "task-received", UUID, broker="us")) is None
    assert lines.line(stored(b"{}")) is None
    assert lines.line(stored(b"{}", problem="no record")) is not None
    assert "app.add" == json.loads(lines.line(stored(b"{}", "task-started", UUID, broker="eu")) or "")["task"]
    (line,) = lines.unmatched()
    assert line.startswith("--broker: 'asia' matches the broker's name of none")


@given(
    st.sampled_from(["task-received", "task-failed", "task-succeeded", "x\ud800", ""]),
    st.dictionaries(st.sampled_from(FIELDS), json_values(), max_size=4) | json_values(),
    st.integers() | st.none(),
    st.booleans(),
)
def test_every_event_has_its_line(kind: str, body: object, when: int | None, as_json: bool) -> None:
    """Whatever its fields hold, it is one line, and UTF-8."""
    record = Record(0, 1, "id", kind, "w1", UUID, when, json.dumps(body).encode(), JSON, stored=when)
    line = Lines(Asked(), "json" if as_json else "line").line(StoredEvent(record, 0, Clock()))
    assert line is not None
    assert len(line.encode().splitlines()) == 1


def test_a_worker_and_an_end_are_picked() -> None:
    """By patterns of the sender, and by the time at which it was stored."""
    one = event("task-started")
    picked = [Asked(workers=[pattern]) for pattern in ("w*", "!w1", "x*")]
    assert [True, False, False] == [Lines(each).line(one) is not None for each in picked]
    at = one.stored or one.time
    assert at is not None
    end = round(at.timestamp() * 1e6)
    assert [False, True] == [Lines(Asked(until=end + more)).line(one) is not None for more in (0, 1)]


def test_a_custom_event_shows_its_fields() -> None:
    """Without those that every event has; long ones are cut, and what is Celery's own is as before."""
    line = text(Lines(Asked()).line(event("order-placed", amount=3, who={"a": [1]}, note="x" * 100, uuid=None, pid=4)))
    assert line.endswith(f'amount=3  who={{"a":[1]}}  note={"x" * 60}...')
    assert "amount" not in text(Lines(Asked()).line(event("task-started", amount=3)))


def test_the_full_form_has_arguments_results_and_tracebacks() -> None:
    """A line for each field, and a block for what has several; nothing in it moves a cursor."""
    found = text(
        Lines(Asked(), "full").line(
            event(
                "task-failed", exception="ValueError('x')", traceback="Traceback:\n  a\x1b[31m\n", args="(1,)", n=None
            )
        )
    )
    assert [
        "    exception  ValueError('x')",
        "    traceback",
        "        Traceback:",
        "          a\\x1b[31m",
        "    args       (1,)",
    ] == found.splitlines()[1:]
    nothing = text(Lines(Asked(), "full").line(event("task-failed", exception="a\ud800", list=[float("1e400")], e="")))
    assert ["    exception  a\\ud800", "    list       [null]", "    e"] == nothing.splitlines()[1:]
