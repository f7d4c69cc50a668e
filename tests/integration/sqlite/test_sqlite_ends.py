"""Events of SQLite that somebody removes under a reader that reads to the end: what was not read is told of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_event_bridge.contract import Reading
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from tests.support.bridges import run_to_end
from tests.support.streams import Stream, handle, ids, in_sqlite, some
from tests.support.tailing import Following

ALL = ["DELETE FROM events"]
ANEW = [*ALL, "DELETE FROM sqlite_sequence WHERE name = 'events'"]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = in_sqlite(tmp_path)
    yield stream
    stream.sink.close()


def change(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "events.db", isolation_level=None, timeout=10)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def to_the_end(folder: Path, group: str | None) -> SqliteReader:
    reader = SqliteReader(SqliteSettings(path=folder / "events.db"), Reading(group=group, ends=True, lease=1.0))
    reader.open()
    assert len(reader.fetch(30, 1.0).records) == 30
    return reader


def rest(reader: SqliteReader, limit: int = 50) -> tuple[list[str], int]:
    """The ids that come until the end, and how many were gone before."""
    found: list[str] = []
    skipped = 0
    for _ in range(100):
        if reader.ended():
            reader.close()
            return found, skipped
        batch = reader.fetch(limit, 0.2)
        found += [record.id for record in batch.records]
        skipped += batch.skipped
    raise AssertionError("it does not end")


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("later", [0, 5, 200])
@pytest.mark.parametrize("how", [ALL, ANEW], ids=["emptied", "begun anew"])
def test_events_that_are_removed_before_the_end_was_read(
    tmp_path: Path, stream: Stream, how: list[str], later: int, group: str | None
) -> None:
    """At least one, as the last one was there; whatever the bridge stores then."""
    stream.write(some(100))
    reader = to_the_end(tmp_path, group)
    change(tmp_path, *how)
    stream.write(some(later, 1000))
    _, skipped = rest(reader)
    assert 1 <= skipped <= 70


@pytest.mark.parametrize("group", [None, "billing"])
def test_the_last_events_alone_are_removed(tmp_path: Path, stream: Stream, group: str | None) -> None:
    """The rest is read, and the end is told to be gone."""
    stream.write(some(100))
    reader = to_the_end(tmp_path, group)
    change(tmp_path, "DELETE FROM events WHERE seq > 90")
    assert rest(reader) == (ids(some(100)[30:90]), 1)


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_file_that_is_another_one_before_the_end_was_read(tmp_path: Path, stream: Stream, group: str | None) -> None:
    """What is left in the one that was moved away is missing, though a new one of that name is read to its end."""
    stream.write(some(100))
    reader = to_the_end(tmp_path, group)
    (tmp_path / "events.db").rename(tmp_path / "archive.db")
    stream.sink.close()
    stream.sink.open()
    stream.write(some(5, 1000))
    assert rest(reader) == (ids(some(5, 1000)), 1)


@pytest.mark.parametrize("group", [None, "billing"])
def test_what_is_removed_or_stored_behind_the_reader_is_not_missed(
    tmp_path: Path, stream: Stream, group: str | None
) -> None:
    """Removed once it was read, or stored after the beginning."""
    stream.write(some(100))
    reader = to_the_end(tmp_path, group)
    change(tmp_path, "DELETE FROM events WHERE seq <= 30")
    stream.write(some(5, 1000))
    assert rest(reader) == (ids(some(100)[30:]), 0)


# The commands -------------------------------------------------------------------------------------------------------


def removed_by_a_retention(folder: Path, stream: Stream) -> None:
    """Of ten events a group has handled three, when a bridge's retention removes the next five."""
    stream.write(some(10))
    with stream.reader("night", follow=False) as events:
        assert events.commit([next(events) for _ in range(3)][-1])
    change(
        folder,
        "CREATE TABLE bridge_removed (one INTEGER PRIMARY KEY CHECK (one = 1), first INTEGER NOT NULL, "
        "last INTEGER NOT NULL, number INTEGER NOT NULL)",
        "INSERT INTO bridge_removed VALUES (1, 1, 8, 8)",
        "DELETE FROM events WHERE seq <= 8",
    )


def test_replay_says_what_was_gone(tmp_path: Path, stream: Stream) -> None:
    """In the line of the result, and by exit code 1; a second run has nothing to complain of."""
    removed_by_a_retention(tmp_path, stream)
    command = ("replay", "--from", stream.url, "--to", f"sqlite:///{tmp_path}/copy.db", "--group", "night")
    done = run_to_end("celery_event_bridge", *command)
    assert "2 events sent to" in done.stdout
    assert "; at least 5 records were gone from the stream before they were read" in done.stdout
    assert done.returncode == 1
    again = run_to_end("celery_event_bridge", *command)
    assert (again.returncode, "were gone" in again.stdout) == (0, False)


def test_tail_says_what_was_gone(tmp_path: Path, stream: Stream) -> None:
    """On standard error, and by exit code 1."""
    count = 20_000  # more lines than a pipe holds that nobody reads
    stream.write(some(count))
    with Following("--from", stream.url, "--format", "json") as following:
        assert following.line()
        change(tmp_path, "DELETE FROM events")
        assert following.process.stdout is not None
        assert len(following.process.stdout.readlines()) < count - 1
        code, said = following.ended()
    assert "at least 1 record was gone from the stream before it was read" in said
    assert code == 1


def test_audit_says_what_was_gone(tmp_path: Path, stream: Stream) -> None:
    """Exit code 1, and no "nothing is missing"."""
    removed_by_a_retention(tmp_path, stream)
    done = run_to_end("celery_event_bridge", "audit", "--from", stream.url, "--settle", "0s")
    assert "nothing is missing" not in done.stdout
    assert "Gone from the stream before they were read: 5" in done.stdout
    assert done.returncode == 1
    assert handle(stream.reader("night", follow=False)) == ids(some(10)[8:])
