"""A SQLite file that others change in place, through SQLite or behind its back, while a bridge has it open."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, notices
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.sqlite_files import backup, copied_over, folded, found, opened, spawn, store, through_sqlite
from tests.support.streams import ids, some


@pytest.fixture
def subject(path: Path) -> Iterator[SqliteSink]:
    subject = opened(path)
    yield subject
    subject.close()


def log_of(path: Path) -> Path:
    return path.with_name("events.db-wal")


# The log, behind SQLite's back ---------------------------------------------------------------------------------------


def emptied(path: Path) -> None:
    os.truncate(log_of(path), 0)


def cut(path: Path) -> None:
    os.truncate(log_of(path), 50_000)


def put_back(path: Path) -> None:
    """The copy that was made some events ago."""
    copied_over(path.with_name("saved-wal"), log_of(path))


def zeroed(path: Path) -> None:
    """Of the same size."""
    size = log_of(path).stat().st_size
    with log_of(path).open("r+b") as log:
        log.write(bytes(size))


@pytest.mark.parametrize("harm", [emptied, cut, put_back, zeroed])
@pytest.mark.parametrize("older", [False, True], ids=["a first log", "one begun again"])
@pytest.mark.parametrize("idle", [False, True], ids=["at the next batch", "while nothing comes"])
def test_a_log_that_is_written_over(
    path: Path, subject: SqliteSink, harm: Callable[[Path], None], older: bool, idle: bool
) -> None:
    """What comes next is stored, what is gone is told of by its number, and nothing else is harmed."""
    first, then, last = some(300), some(100, 5000), some(50, 9000)
    if older:  # so that the log is longer than what counts in it
        store(subject, some(3000, 20_000))
        folded(path)
    store(subject, first)
    shutil.copyfile(log_of(path), path.with_name("saved-wal"))
    store(subject, then)
    harm(path)
    if idle:
        subject.look()
    store(subject, last)
    subject.look()
    subject.close()
    there = found(path)
    assert set(ids(last)) <= there
    if older:
        assert set(ids(some(3000, 20_000))) <= there, "what was in the file already stays"
    if harm is put_back:
        assert set(ids(first)) <= there, "what is left of the log is found again"
    counts = notices.NOTICES.counts()
    assert 1 == counts["stream-replaced"]
    assert not set(ids(then)) <= there
    assert 0 < counts["stream-shrunk"] <= 3400


@pytest.mark.parametrize("harm", [emptied, put_back])
def test_a_log_that_is_written_over_between_check_and_commit(
    path: Path, subject: SqliteSink, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that was written behind the hole is not confirmed."""
    store(subject, some(300))
    shutil.copyfile(log_of(path), path.with_name("saved-wal"))
    store(subject, some(100, 5000))
    check = subject._file.check

    def checked() -> None:
        check()
        monkeypatch.setattr(subject._file, "check", check)
        harm(path)

    monkeypatch.setattr(subject._file, "check", checked)
    assert {Outcome.RETRY} == {one.outcome for one in deliver(subject, some(20, 9000), 80)}
    store(subject, some(20, 9000))
    subject.close()
    assert set(ids(some(20, 9000))) <= found(path)


def store_elsewhere(path: Path) -> None:
    subject = opened(path)
    store(subject, some(50, 7000))
    subject.close()


def test_a_log_that_is_written_over_before_another_bridge_opens_it(path: Path, subject: SqliteSink) -> None:
    """The one that comes sees it, though the index of the one that is there says otherwise; both go on."""
    store(subject, some(100))
    emptied(path)
    # Two connections of one process would share the index in memory.
    other = spawn.Process(target=store_elsewhere, args=(path,))
    other.start()
    other.join(180)
    assert 0 == other.exitcode
    store(subject, some(50, 9000))
    subject.close()
    assert set(ids([*some(50, 7000), *some(50, 9000)])) <= found(path)


@pytest.mark.parametrize("harm", [emptied, zeroed])
def test_a_moved_file_gets_nothing_of_a_log_that_was_emptied(
    path: Path, subject: SqliteSink, harm: Callable[[Path], None]
) -> None:
    """What lies in the log by then is not what belongs to it."""
    store(subject, some(2000))
    folded(path)
    store(subject, some(100, 5000))
    harm(path)
    archive = path.rename(path.with_name("archive.db"))
    store(subject, some(50, 9000))
    subject.close()
    assert set(ids(some(2000))) <= found(archive)
    assert set(ids(some(50, 9000))) <= found(path)


# The table, through SQLite -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "gone"),
    [
        (["DROP TABLE events"], 100),
        (["DELETE FROM events"], 1),
        (["DELETE FROM events WHERE seq > 90"], 1),
        (["DELETE FROM events WHERE seq <= 40"], 40),
        (["DELETE FROM events", "DELETE FROM sqlite_sequence"], 100),
    ],
)
def test_what_somebody_removes_is_told(path: Path, subject: SqliteSink, statements: list[str], gone: int) -> None:
    """Once, with the number where that is known; and what comes next is stored."""
    store(subject, some(100))
    subject.look()
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]
    through_sqlite(path, *statements)
    try:
        subject.look()
    except SinkUnavailable:
        subject.available()
    subject.look()
    assert gone == notices.NOTICES.counts()["stream-shrunk"]
    store(subject, some(50, 9000))
    subject.look()
    assert gone == notices.NOTICES.counts()["stream-shrunk"]
    assert set(ids(some(50, 9000))) <= found(path)


def test_what_a_retention_removes_is_nobodys(path: Path) -> None:
    """Events that were removed by our own rule, by whatever bridge, are no loss."""
    with closing(opened(path)) as subject, closing(opened(path, retention=3600)) as other:
        store(subject, some(100))
        subject.look()
        through_sqlite(path, "UPDATE events SET stored_at = stored_at - 7200000000 WHERE seq <= 60")
        other._retention._due = 0.0  # type: ignore[union-attr]
        other.look()
        subject.look()
        assert 60 == notices.NOTICES.counts()["removed"]
        assert 0 == notices.NOTICES.counts()["stream-shrunk"]


def test_nothing_is_gone_where_events_come_twice_or_cannot_be_stored(path: Path, subject: SqliteSink) -> None:
    """Numbers that were given and taken back are no events."""
    bad = Event("x" * 32, "\ud800", "a", None, "k", 1, b"{}", "application/json")
    for _ in range(2):
        store(subject, some(20))
        assert Outcome.REFUSED in {one.outcome for one in deliver(subject, [*some(10, 5000), bad], 80)}
        subject.look()
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]


@pytest.mark.parametrize(
    "action",
    [
        "BEFORE INSERT ON events BEGIN SELECT raise(IGNORE); END",
        "AFTER INSERT ON events BEGIN DELETE FROM events WHERE seq = new.seq; END",
    ],
)
def test_a_trigger_that_keeps_events_out(path: Path, subject: SqliteSink, action: str) -> None:
    """Nothing is confirmed that the table does not have; it is unavailable until the trigger is gone."""
    store(subject, some(20))
    through_sqlite(path, f"CREATE TRIGGER strict {action}")
    assert {Outcome.RETRY} == {one.outcome for one in deliver(subject, some(20, 9000), 80)}
    with pytest.raises(SinkUnavailable, match="strict"):
        subject.available()
    through_sqlite(path, "DROP TRIGGER strict")
    subject.available()
    store(subject, some(20, 9000))
    assert set(ids(some(20, 9000))) <= found(path)


def test_a_trigger_is_told_of(path: Path, subject: SqliteSink) -> None:
    """Also one that keeps nothing out, since it may change what is stored; and all is stored beside it."""
    through_sqlite(
        path,
        "CREATE TABLE seen (id TEXT)",
        "CREATE TRIGGER seeing AFTER INSERT ON events BEGIN INSERT INTO seen VALUES (new.id); END",
    )
    store(subject, some(20))
    subject.look()
    assert 1 == notices.NOTICES.counts()["stream-advice"]
    assert set(ids(some(20))) <= found(path)


# The table, put back ------------------------------------------------------------------------------------------------


def restored(path: Path, copy: Path) -> None:
    """Into the very file, as `sqlite3 events.db ".restore copy.db"` does it."""
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)


@pytest.mark.parametrize("batch", [50, 400], ids=["in several batches", "in one batch"])
def test_an_older_copy_that_is_passed_before_a_look_is_told_of(path: Path, subject: SqliteSink, batch: int) -> None:
    """Numbers that are given anew prove it, however far they have come; events that come again prove nothing."""
    store(subject, some(100))
    subject.look()
    backup(path, path.with_name("copy.db"), "backup")
    store(subject, some(300, 1000))
    store(subject, [*some(50, 1250), *some(50, 2000)])
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]
    highest = subject._file.stored
    restored(path, path.with_name("copy.db"))
    for first in range(5000, 5800, batch):
        store(subject, some(batch, first))
    assert subject._file.stored > highest
    subject.look()
    subject.look()
    assert highest - 100 == notices.NOTICES.counts()["stream-shrunk"]


def test_an_older_copy_that_another_bridge_has_passed_is_told_of(path: Path, subject: SqliteSink) -> None:
    """Another event at the number of the last one that was stored here proves it too."""
    store(subject, some(100))
    backup(path, path.with_name("copy.db"), "backup")
    store(subject, some(20, 1000))
    subject.look()
    restored(path, path.with_name("copy.db"))
    other = spawn.Process(target=store_elsewhere, args=(path,))
    other.start()
    other.join(60)
    subject.look()
    assert 1 == notices.NOTICES.counts()["stream-shrunk"]
