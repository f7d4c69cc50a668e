"""The retention of a SQLite file: by the file's own clock, whatever clock a replica has; and its log's size."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celery_event_bridge.contract import Event, Outcome, Reading
from celery_event_bridge.contract.notices import NOTICES
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite.overtaken import Removed
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from celery_event_sinks.sqlite.table import LOG_LIMIT
from tests.support import oracle
from tests.support.streams import handle, ids, some

DAY = 86_400_000_000
"""Microseconds."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets this process's calendar so many days off; what measures durations goes on."""
    real = time.time_ns

    def set_off(days: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: real() + round(days * DAY) * 1000)

    return set_off


def opened(folder: Path, **settings: Any) -> SqliteSink:
    subject = SqliteSink(SqliteSettings(path=folder / "events.db", **settings))
    subject.open()
    return subject


def store(subject: SqliteSink, events: Sequence[Event], happened: float | None = None) -> None:
    """With the retention due again; `happened` is the events' own time, in days from now."""
    if happened is not None:
        at = time.time_ns() // 1000 + round(happened * DAY)
        events = [msgspec.structs.replace(event, time=at) for event in events]
    if subject._retention is not None:
        subject._retention._due = 0
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, list(events), 80)}


def stored(folder: Path) -> list[str]:
    return [row["id"] for row in oracle.in_sqlite(folder / "events.db")]


def aged(folder: Path, days: float, rows: str = "1") -> None:
    """These rows were stored so long before."""
    with sqlite3.connect(folder / "events.db") as connection:
        connection.execute(f"UPDATE events SET stored_at = stored_at - ? WHERE {rows}", (round(days * DAY),))
    connection.close()


@pytest.mark.parametrize("days", [8, 400])
def test_a_replica_whose_clock_is_ahead_removes_nothing(tmp_path: Path, clock: Any, days: float) -> None:
    """All that another one has just confirmed stays, also after its restart and while both write; it is warned of."""
    right, events = opened(tmp_path, retention="7d"), some(300)
    store(right, events[:50])
    clock(days)
    ahead = opened(tmp_path, retention="7d")
    store(ahead, events[50:60])
    ahead.close()
    ahead = opened(tmp_path, retention="7d")
    store(ahead, events[60:200])
    clock(0)
    store(right, events[200:250])
    clock(days)
    store(ahead, events[250:])
    clock(0)
    again = opened(tmp_path, retention="7d")
    store(again, events[:1])
    assert ids(events) == stored(tmp_path)
    assert NOTICES.counts()["clock"] >= 1
    assert 0 == NOTICES.counts()["removed"]
    for one in (right, ahead, again):
        one.close()


def test_a_replica_whose_clock_was_ahead_when_it_made_the_file(tmp_path: Path, clock: Any) -> None:
    """The slowest clock counts: what the others store afterwards is not old."""
    clock(8)
    ahead = opened(tmp_path, retention="7d")
    store(ahead, some(50))
    clock(0)
    right = opened(tmp_path, retention="7d")
    store(right, some(50, 100))
    clock(8)
    store(ahead, some(50, 200))
    assert ids([*some(50), *some(50, 100), *some(50, 200)]) == stored(tmp_path)
    ahead.close()
    right.close()


def test_a_replica_whose_clock_is_behind(tmp_path: Path, clock: Any) -> None:
    """What it confirms is not removed as old by the others."""
    right = opened(tmp_path, retention="7d")
    store(right, some(50))
    clock(-8)
    behind = opened(tmp_path, retention="7d")
    store(behind, some(50, 100))
    clock(0)
    store(right, some(50, 200))
    assert ids([*some(50), *some(50, 100), *some(50, 200)]) == stored(tmp_path)
    behind.close()
    right.close()


def test_a_clock_that_jumps_while_a_bridge_runs(tmp_path: Path, clock: Any) -> None:
    """Nothing is removed by it, and it is warned of."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(50))
    clock(8)
    store(subject, some(1, 100))
    store(subject, some(1, 200))
    assert 52 == len(stored(tmp_path))
    assert NOTICES.counts()["clock"] >= 1
    subject.close()


def test_a_row_of_the_future_keeps_no_other(tmp_path: Path) -> None:
    """One that was stored by a wrong clock is removed late, and those behind it in time."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(30))
    aged(tmp_path, 10)
    aged(tmp_path, -400, "seq = 1")
    store(subject, some(1, 100))
    assert [some(30)[0].id, some(1, 100)[0].id] == stored(tmp_path)
    subject.close()


def test_after_a_time_in_which_no_bridge_ran(tmp_path: Path, clock: Any) -> None:
    """The clock is believed once the events' own times, by their workers' clocks, agree; what is old goes then."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(30))
    subject.close()
    clock(10)
    subject = opened(tmp_path, retention="7d")
    store(subject, some(10, 100))
    assert 40 == len(stored(tmp_path))
    store(subject, some(60, 200), happened=0)
    store(subject, some(1, 300), happened=0)
    assert ids([*some(10, 100), *some(60, 200), *some(1, 300)]) == stored(tmp_path)
    subject.close()


def test_what_is_removed_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line with the number, and the counter."""
    caplog.set_level("INFO")
    subject = opened(tmp_path, retention="7d")
    store(subject, some(30))
    aged(tmp_path, 10)
    store(subject, some(1, 100))
    assert 30 == NOTICES.counts()["removed"]
    assert "(30 now)" in caplog.text
    subject.close()


def test_a_short_retention_is_advised_against(tmp_path: Path) -> None:
    """By `check` and once by `run`; an hour and more is none."""
    (finding,) = SqliteSink(SqliteSettings(path=tmp_path / "x", retention="30s")).advice()
    assert ("warn", True) == (finding.verdict, "BRIDGE_SQLITE_RETENTION: events are removed 30 s" in finding.text)
    assert not SqliteSink(SqliteSettings(path=tmp_path / "x", retention="1h")).advice()


# The log ------------------------------------------------------------------------------------------------------------


def test_a_log_that_grows_is_told_of_and_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While somebody reads in one long transaction, a warning has the size; once he ends, the log is cut."""
    subject = opened(tmp_path)
    store(subject, some(10))
    log = tmp_path / "events.db-wal"
    reader = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    large = [msgspec.structs.replace(event, data=b"x" * 500_000) for event in some(80, 100)]
    store(subject, large)
    subject.look()
    assert 1 == NOTICES.counts()["log-growing"]
    assert f"its write-ahead log has {log.stat().st_size >> 20} MiB" in caplog.text
    reader.execute("COMMIT")
    reader.close()
    subject.look()
    store(subject, some(10, 1000))
    store(subject, some(10, 2000))
    assert log.stat().st_size <= LOG_LIMIT
    subject.look()
    assert 1 == NOTICES.counts()["log-growing"]
    subject.close()


# Readers that a retention overtakes -----------------------------------------------------------------------------------


def overtaken(folder: Path, subject: SqliteSink, last: int, later: Sequence[Event]) -> None:
    """All up to this number are removed when these events are stored."""
    aged(folder, 8, f"seq <= {last}")
    store(subject, later)
    with sqlite3.connect(folder / "events.db") as connection:
        assert connection.execute("SELECT min(seq) FROM events").fetchone()[0] > last
    connection.close()


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'events.db'}"


def test_a_retention_that_overtakes_a_group_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the number of events that were gone before the group came to them; the rest comes."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(10))
    with open_reader(url(tmp_path), "billing", lease=1.0) as events:
        assert events.commit(list(itertools.islice(events, 3))[-1])
    overtaken(tmp_path, subject, 8, some(2, 10))
    with open_reader(url(tmp_path), follow=False) as of_all:
        assert of_all.missed() == 5
    with open_reader(url(tmp_path), "billing", lease=1.0, follow=False) as events:
        assert handle(events) == ids(some(12)[8:])
        assert events.skipped == 5
    assert [line for line in caplog.messages if line.startswith("5 records were gone from the stream before the group")]
    with open_reader(url(tmp_path), "billing", lease=1.0, follow=False) as events:
        assert (handle(events), events.skipped, events.missed()) == ([], 0, 0)
    subject.close()


@pytest.mark.parametrize("ends", [False, True])
def test_a_retention_that_overtakes_a_reader_is_told_of(tmp_path: Path, ends: bool) -> None:
    """Also where nothing is left up to the end; and not again to the next one, which begins with what is there."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(10))
    reader = SqliteReader(SqliteSettings(path=tmp_path / "events.db"), Reading(ends=ends))
    reader.open()
    assert len(reader.fetch(3, 1.0).records) == 3
    overtaken(tmp_path, subject, 10, some(2, 10))
    batch = reader.fetch(100, 1.0)
    assert ([record.id for record in batch.records], batch.skipped) == ([] if ends else ids(some(2, 10)), 7)
    assert reader.fetch(100, 0.0).skipped == 0
    reader.close()
    for group in (None, "new"):
        with open_reader(url(tmp_path), group, lease=1.0, follow=False) as events:
            assert (handle(events), events.skipped) == (ids(some(2, 10)), 0)
    subject.close()


def test_events_that_were_stored_again_are_none_that_were_gone(tmp_path: Path) -> None:
    """They leave holes in the numbers, among those of the file and before them."""
    subject = opened(tmp_path, retention="7d")
    store(subject, some(10))
    with open_reader(url(tmp_path), "billing", lease=1.0, follow=False) as events:
        assert handle(events) == ids(some(10))
    store(subject, some(10))
    overtaken(tmp_path, subject, 10, some(15))
    with open_reader(url(tmp_path), "billing", lease=1.0, follow=False) as events:
        handle(events)
        assert (events.skipped, events.missed()) == (0, 0)
    subject.close()


@pytest.mark.parametrize(("position", "missed"), [(0, 12), (3, 9), (11, 1), (21, 1), (22, 0), (30, 0)])
def test_with_holes_it_is_at_least_so_many(position: int, missed: int) -> None:
    """Of the numbers 1 to 22 twelve were removed: those up to the position may all have been among them."""
    assert Removed(1, 22, 12).after(position, 23) == missed
