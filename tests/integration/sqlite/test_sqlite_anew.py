"""A table `events` that somebody begins anew in the same file: its readers read all of it, and are told."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_event_bridge.contract import Batch, Outcome, Reading
from celery_event_bridge.contract.notices import NOTICES
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite.overtaken import Removed, add, prepare, removed
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.streams import Stream, handle, ids, in_sqlite, some

Somebody = Callable[[str], None]
WAYS = {
    "dropped": ["DROP TABLE events"],
    "renamed": ["ALTER TABLE events RENAME TO old"],
    "emptied with its counter": ["DELETE FROM events", "DELETE FROM sqlite_sequence WHERE name = 'events'"],
    "counter set": ["DELETE FROM events", "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'events'"],
}


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = in_sqlite(tmp_path)
    yield stream
    stream.sink.close()


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def begin_anew(request: pytest.FixtureRequest, tmp_path: Path, stream: Stream) -> Callable[[], None]:
    """Somebody begins the table anew, and the bridge makes it where it is gone."""

    def done() -> None:
        change(tmp_path, *request.param)
        stream.sink.close()
        stream.sink.open()

    return done


def change(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "events.db", isolation_level=None, timeout=10)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def told() -> int:
    return NOTICES.counts()["stream-replaced"]


def opened(folder: Path, group: str | None = None) -> SqliteReader:
    reader = SqliteReader(SqliteSettings(path=folder / "events.db"), Reading(group=group, lease=1.0))
    reader.open()
    return reader


def fetched(reader: SqliteReader, limit: int = 100) -> Batch:
    """The next batch that has records."""
    for _ in range(20):
        batch = reader.fetch(limit, 0.5)
        if batch.records:
            return batch
    return Batch()


@pytest.mark.parametrize("after", [5, 30], ids=["fewer than were read", "more than were read"])
def test_a_group_reads_a_table_that_was_begun_anew_from_its_beginning(
    tmp_path: Path, stream: Stream, begin_anew: Callable[[], None], after: int, caplog: pytest.LogCaptureFixture
) -> None:
    """However many events it has by the time the group's next reader comes; told once, with both numbers."""
    stream.write(some(20))
    assert stream.all("billing") == ids(some(20))
    begin_anew()
    stream.write(some(after, 100))
    assert stream.all("billing") == ids(some(after, 100))
    assert told() == 1
    (line,) = [line for line in caplog.messages if "begun anew" in line]
    assert "'billing' is 20" in line
    assert f"last number is {after}" in line
    assert stream.all("billing") == []
    assert told() == 1


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("after", [5, 30], ids=["fewer than were read", "more than were read"])
def test_a_reader_goes_on_in_a_table_that_was_begun_anew(
    tmp_path: Path, stream: Stream, begin_anew: Callable[[], None], group: str | None, after: int
) -> None:
    """Also where it looks only after the numbers have passed its own, and where events that it has read come again."""
    stream.write(some(20))
    reader = opened(tmp_path, group)
    before = fetched(reader).records
    assert len(before) == 20
    begin_anew()
    stream.write(some(after, 10))
    batch = fetched(reader)
    assert ([record.id for record in batch.records], batch.skipped) == (ids(some(after, 10)), 0)
    assert before[0].partition in batch.revoked or batch.records[0].partition != before[0].partition
    assert told() == 1
    reader.close()


def test_a_commit_of_what_was_read_before_moves_nothing_in_the_new_table(
    tmp_path: Path, stream: Stream, begin_anew: Callable[[], None]
) -> None:
    """It is refused, and the new table's events come, to this reader and to the group's next one."""
    stream.write(some(20))
    reader = opened(tmp_path, "billing")
    before = fetched(reader).records
    begin_anew()
    stream.write(some(30, 100))
    assert not reader.commit({before[0].partition: [record.position for record in before]})
    records = fetched(reader, 10).records
    assert [record.id for record in records] == ids(some(10, 100))
    assert reader.commit({records[0].partition: [record.position for record in records]})
    reader.close()
    assert stream.all("billing") == ids(some(30, 100)[10:])


def test_what_a_retention_had_removed_of_the_old_table_is_forgotten(tmp_path: Path, stream: Stream) -> None:
    """A new reader begins at the first of the new events, and none of them counts as gone."""
    stream.write(some(20))
    connection = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    prepare(connection)
    add(connection, Removed(1, 20, 20))
    change(tmp_path, *WAYS["emptied with its counter"])
    for group in (None, "billing"):
        with open_reader(stream.url, group, since="latest", lease=1.0, follow=False) as events:
            assert list(events) == []
    assert removed(connection) == Removed()
    reader = opened(tmp_path)
    stream.write(some(5))
    assert [record.id for record in fetched(reader).records] == ids(some(5))
    reader.close()
    assert stream.all("billing") == ids(some(5))
    connection.close()


def test_a_position_that_an_operator_moves_is_kept(tmp_path: Path, stream: Stream) -> None:
    """By SQL, back or ahead: the table is the same one."""
    stream.write(some(20))
    assert stream.all("billing") == ids(some(20))
    change(tmp_path, "UPDATE bridge_readers SET position = 15")
    assert stream.all("billing") == ids(some(20)[15:])
    assert told() == 0


def test_a_file_of_an_earlier_version_is_read_on(tmp_path: Path, stream: Stream) -> None:
    """Its table of groups lacks a column, which is added; the position counts."""
    stream.write(some(20))
    change(
        tmp_path,
        "CREATE TABLE bridge_readers (name TEXT PRIMARY KEY, position INTEGER NOT NULL, owner TEXT NOT NULL, "
        "expires INTEGER NOT NULL)",
        "INSERT INTO bridge_readers VALUES ('billing', 15, '', 0)",
    )
    assert stream.all("billing") == ids(some(20)[15:])
    assert stream.all("billing") == []
    assert told() == 0


def test_removals_through_sqlite_are_no_new_table(tmp_path: Path) -> None:
    """Rows that somebody deletes, the newest as well, leave the counter; and the events of a retention go as ever."""
    sink = SqliteSink(SqliteSettings(path=tmp_path / "events.db", retention="7d"))
    sink.open()
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(sink, some(20), 80)}
    reader = opened(tmp_path)
    assert len(fetched(reader).records) == 20
    with open_reader(f"sqlite:///{tmp_path}/events.db", "billing", lease=1.0, follow=False) as events:
        assert len(handle(events)) == 20
    change(tmp_path, "DELETE FROM events WHERE seq > 10")
    deliver(sink, some(5, 100), 80)
    assert [record.id for record in fetched(reader).records] == ids(some(5, 100))
    with open_reader(f"sqlite:///{tmp_path}/events.db", "billing", lease=1.0) as events:
        assert [event.id for event in itertools.islice(events, 5)] == ids(some(5, 100))
    assert told() == 0
    reader.close()
    sink.close()
