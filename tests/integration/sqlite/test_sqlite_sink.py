"""The SQLite sink against real files: what every sink holds, several processes, removed files, locks, retention."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Event, Outcome, Sink, SinkUnavailable
from celery_event_bridge.testing import SinkContract, await_verdicts, deliver, sample_events
from celery_event_sinks.sqlite import retention
from celery_event_sinks.sqlite.file import BUSY_TIMEOUT
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from celery_event_sinks.sqlite.whereabouts import Change
from tests.support import oracle
from tests.support.servers.debian import PATIENCE, until

COLUMNS = ("id", "type", "source", "subject", "key", "time", "data", "content_type")
spawn = multiprocessing.get_context("spawn")


class TestSqliteContract(SinkContract):
    """What every sink holds."""

    @pytest.fixture
    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        return lambda: sink(tmp_path)

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "events.db"

    @contextmanager
    def outage(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            yield

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return rows(self.path)


def sink(folder: Path, **settings: Any) -> SqliteSink:
    return SqliteSink(SqliteSettings(path=folder / "events.db", **settings))


def rows(path: Path) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in COLUMNS) for row in oracle.in_sqlite(path)]


def outcomes(subject: Sink, events: list[Event]) -> set[Outcome]:
    return {verdict.outcome for verdict in deliver(subject, events, 80)}


def test_the_file_is_fully_synced_and_in_wal_mode(tmp_path: Path) -> None:
    """What a commit has confirmed survives a power cut: WAL, synchronous=FULL, and the schema of the contract."""
    subject = sink(tmp_path)
    subject.open()
    assert subject._file.connection is not None
    assert (2,) == subject._file.connection.execute("PRAGMA synchronous").fetchone()
    with closing(sqlite3.connect(tmp_path / "events.db")) as another:
        assert ("wal",) == another.execute("PRAGMA journal_mode").fetchone()
        names = [row[1] for row in another.execute("PRAGMA table_info(events)")]
    assert ["seq", *COLUMNS, "stored_at", "broker"] == names
    subject.close()


def test_a_duplicate_changes_nothing(tmp_path: Path) -> None:
    """An event stored again is stored as far as the broker is concerned, and there is one row."""
    events = sample_events(10)
    subject = sink(tmp_path)
    subject.open()
    assert {Outcome.STORED} == outcomes(subject, events)
    before = oracle.in_sqlite(tmp_path / "events.db")
    assert {Outcome.STORED} == outcomes(subject, [*events, *events])
    assert before == oracle.in_sqlite(tmp_path / "events.db")
    subject.close()


def write(folder: Path, first: int, ready: Any, go: Any) -> None:
    """In a process of its own: open, wait for the others, store."""
    events = sample_events(first + 2000)[first:]
    subject = sink(folder)
    ready.release()
    go.wait(60)
    while True:
        try:
            subject.open()
            break
        except SinkUnavailable:
            continue
    left = events
    while left:
        verdicts = deliver(subject, left[:200], 80)
        done = {id(event) for verdict in verdicts if verdict.outcome is Outcome.STORED for event in verdict.events}
        left = [event for event in left if id(event) not in done]
    subject.close()


def test_several_processes_create_and_write_at_once(tmp_path: Path, spawned: Callable[..., SpawnProcess]) -> None:
    """Three processes make the same file at the same moment and write events that overlap: each id is there once."""
    ready, go = spawn.Semaphore(0), spawn.Event()
    writers = [spawned(write, tmp_path, first, ready, go) for first in (0, 500, 1000)]
    for _ in writers:
        assert ready.acquire(timeout=20)
    go.set()
    for writer in writers:
        writer.join(180)
        assert 0 == writer.exitcode
    expected = {event.id for event in sample_events(3000)}
    ids = [row[0] for row in rows(tmp_path / "events.db")]
    assert len(ids) == len(set(ids))
    assert expected == set(ids)


def store_for_ever(folder: Path, count: Any) -> None:
    """In a process of its own: store batches, and say after each verdict how many are stored."""
    subject = sink(folder)
    subject.open()
    for number in range(100_000):
        events = [Event(f"{number}-{part}", "task-sent", "w", None, "w", None, b"x" * 500) for part in range(50)]
        deliver(subject, events, 80)
        count.value = number + 1


def test_a_kill_in_the_middle_of_a_commit(tmp_path: Path, spawned: Callable[..., SpawnProcess]) -> None:
    """Whatever was said to be stored before SIGKILL is there afterwards; batches are there whole or not at all."""
    for _ in range(5):
        for file in tmp_path.glob("events.db*"):
            file.unlink()
        count = spawn.Value("i", 0, lock=False)  # a lock that the writer holds when it is killed is never let go
        writer = spawned(store_for_ever, tmp_path, count)
        until(lambda count=count: count.value > 20, 30, "batches are being stored")
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(60)
        said = count.value
        found = oracle.in_sqlite(tmp_path / "events.db")
        assert len(found) >= said * 50
        assert 0 == len(found) % 50
        connection = sqlite3.connect(tmp_path / "events.db")
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
        connection.close()


def test_a_removed_file_is_noticed(tmp_path: Path) -> None:
    """What would go into a removed file is given back, and goes into a new one the next time."""
    events = sample_events(10)
    subject = sink(tmp_path)
    subject.open()
    assert {Outcome.STORED} == outcomes(subject, events[:5])
    (tmp_path / "events.db").unlink()
    (verdict,) = deliver(subject, events[5:], 80)
    assert (Outcome.RETRY, events[5:]) == (verdict.outcome, list(verdict.events))
    assert "removed or replaced" in verdict.reason
    assert {Outcome.STORED} == outcomes(subject, events[5:])
    assert [event.id for event in events[5:]] == [row[0] for row in rows(tmp_path / "events.db")]
    subject.close()


def test_a_file_removed_during_the_commit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look after the commit counts: rows that went into a file without a name are not said to be stored."""
    subject = sink(tmp_path)
    subject.open()
    looks = iter([None, Change.FILE])
    monkeypatch.setattr(subject._file, "_change", lambda: next(looks))
    (verdict,) = deliver(subject, sample_events(3), 80)
    assert Outcome.RETRY is verdict.outcome
    subject.close()


def test_another_writers_lock_is_waited_for_not_for_long(tmp_path: Path) -> None:
    """While another process holds the write lock, events are given back with the reason, within a few seconds."""
    subject = sink(tmp_path)
    subject.open()
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    (verdict,) = deliver(subject, sample_events(3), 80)
    assert time.monotonic() - begin < 2 * BUSY_TIMEOUT * PATIENCE
    assert Outcome.RETRY is verdict.outcome
    assert "another process holds its write lock" in verdict.reason
    with pytest.raises(SinkUnavailable, match="write lock"):
        subject.available()
    other.execute("ROLLBACK")
    other.close()
    subject.available()
    assert {Outcome.STORED} == outcomes(subject, sample_events(3))
    subject.close()


@pytest.mark.parametrize(
    ("prepare", "advice"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), "move the file away"),
        (lambda path: path.mkdir(), "it is a directory: name a file in it"),
        (
            lambda path: sqlite3.connect(path).execute("CREATE TABLE events (x)").connection.commit(),
            "choose another path",
        ),
    ],
    ids=["another kind of file", "a directory", "another program's table"],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, prepare: Callable[[Path], object], advice: str) -> None:
    """One line that names the setting, the path and the way out."""
    path = tmp_path / "events.db"
    prepare(path)
    with pytest.raises(SinkUnavailable) as failure:
        sink(tmp_path).open()
    (line,) = str(failure.value).splitlines()
    assert f"BRIDGE_SQLITE_PATH={path}" in line
    assert advice in line


def test_a_missing_directory_is_said_so(tmp_path: Path) -> None:
    """It is not made: a volume that is not mounted would be written past."""
    with pytest.raises(SinkUnavailable, match="directory has to be there"):
        sink(tmp_path / "nowhere").open()
    assert not (tmp_path / "nowhere").exists()


def test_what_is_older_than_the_retention_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks, oldest first, and nothing that is younger; numbers are never used again."""
    monkeypatch.setattr(retention, "CHUNK", 4)
    subject = sink(tmp_path, retention="1d")
    events = sample_events(20)
    subject.open()
    assert subject._retention is not None
    subject._retention._due = time.monotonic() + 1000
    deliver(subject, events[:10], 80)
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("UPDATE events SET stored_at = stored_at - 2 * 86400000000")
    connection.close()
    subject._retention._due = 0
    for event in events[10:]:
        deliver(subject, [event], 80)
    assert [event.id for event in events[10:]] == [row[0] for row in rows(tmp_path / "events.db")]
    assert list(range(11, 21)) == [row["seq"] for row in oracle.in_sqlite(tmp_path / "events.db")]
    subject.close()


def test_a_large_event_goes_alone(tmp_path: Path) -> None:
    """Batches are bounded in bytes, so that no transaction holds the lock for long."""
    events = [Event(str(n), "task-sent", "w", None, "w", None, b"x" * 3_000_000) for n in range(4)]
    subject = sink(tmp_path)
    subject.open()
    subject.send(events)
    assert [1, 1, 1, 1] == [len(verdict.events) for verdict in await_verdicts(subject, 4, 80)]
    subject.close()


def test_a_file_is_its_users_alone(tmp_path: Path) -> None:
    """With the log beside it, whatever the umask; one that was there keeps the rights that it has."""
    path = tmp_path / "events.db"
    before = os.umask(0o022)
    try:
        subject = SqliteSink(SqliteSettings(path=path, retention=None))
        subject.open()
        deliver(subject, sample_events(3), 10.0)
        assert {"events.db", "events.db-wal", "events.db-shm"} == {file.name for file in tmp_path.iterdir()}
        assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        subject.close()
        path.chmod(0o640)
        subject.open()
        deliver(subject, sample_events(3), 10.0)
        assert {0o640} == {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        subject.close()
    finally:
        os.umask(before)


def test_another_writers_lock_is_waited_for_in_slices(tmp_path: Path) -> None:
    """Between them the relay renews what it holds at its broker; that the lock is waited for is no outage."""
    subject = sink(tmp_path)
    subject.open()
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    for _ in range(2):  # the second wait is as long as the first
        other.execute("BEGIN IMMEDIATE")
        subject.send(sample_events(3))
        begin = time.monotonic()
        assert [] == [*subject.verdicts(0.0)]
        assert time.monotonic() - begin < BUSY_TIMEOUT / 2
        while time.monotonic() - begin < 0.6 * BUSY_TIMEOUT:
            assert [] == [*subject.verdicts(0.0)]
        other.execute("ROLLBACK")
        (verdict,) = subject.verdicts(0.0)
        assert (Outcome.STORED, 3) == (verdict.outcome, len(verdict.events))
    other.close()
    subject.close()
