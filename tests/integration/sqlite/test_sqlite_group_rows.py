"""Groups of SQLite whose file, or whose row in it, somebody takes away or sets under their readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from tests.support.servers.debian import until
from tests.support.streams import Stream, ids, in_sqlite, some

GROUP = "billing"


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    stream = in_sqlite(tmp_path)
    yield stream
    stream.sink.close()


class Group:
    """A reader of the group that begins at what comes after it was opened, and what it has read and committed."""

    def __init__(self, folder: Path, since: str = "latest") -> None:
        self.reader = SqliteReader(SqliteSettings(path=folder / "events.db"), Reading(GROUP, since, lease=1.0))
        self.reader.open()
        self.ids: list[str] = []
        self.skipped = 0
        self._last: dict[str, list[int]] = {}

    def fetch(self, limit: int = 100) -> int:
        try:
            batch = self.reader.fetch(limit, 0.1)
        except SinkUnavailable:
            return 0  # as an outage, it is asked again
        self.ids += [record.id for record in batch.records]
        self.skipped += batch.skipped
        for record in batch.records:
            self._last = {str(record.partition): [record.position]}
        return len(batch.records)

    def commit(self) -> bool:
        return self.reader.commit(self._last)  # type: ignore[arg-type]

    def rest(self, wanted: list[str]) -> None:
        """Read until all that is wanted has come."""

        def has_come() -> bool:
            self.fetch()
            return set(wanted) <= set(self.ids)

        until(has_come, 20, "all that is wanted has come")


@pytest.fixture
def group(tmp_path: Path, stream: Stream) -> Iterator[Group]:
    """It has joined behind ten events, has committed the next ten, and has ten more in hand."""
    stream.write(some(10))
    group = Group(tmp_path)
    assert group.fetch() == 0
    stream.write(some(100, 10))
    assert group.fetch(10) == 10
    assert group.commit()
    assert group.fetch(10) == 10
    yield group
    group.reader.close()


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "events.db", isolation_level=None, timeout=10)
    connection.execute(statement)
    connection.close()


def told(kind: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == kind]


@pytest.mark.parametrize("written", ["before it looks", "after it has looked"])
def test_a_group_reads_a_file_that_takes_the_place_of_its_own_from_the_beginning(
    tmp_path: Path, stream: Stream, group: Group, written: str
) -> None:
    """Whatever `since` it was opened with: all of the new file came after it."""
    (tmp_path / "events.db").rename(tmp_path / "archive.db")
    stream.sink.close()
    stream.sink.open()
    if written == "after it has looked":
        group.fetch()
    stream.write(some(200, 1000))
    group.rest(ids(some(200, 1000)))
    assert group.commit()
    group.reader.close()
    assert stream.all(GROUP, since="latest") == []


@pytest.mark.parametrize("how", ["DELETE FROM bridge_readers", "DROP TABLE bridge_readers"])
@pytest.mark.parametrize("noticed_by", ["commit", "renewal"])
def test_a_group_that_is_removed_under_its_reader(
    tmp_path: Path, stream: Stream, group: Group, how: str, noticed_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is made again where this reader was: what was in hand is handed out again, and a commit of it says False."""
    change(tmp_path, how)
    assert not again(group.commit if noticed_by == "commit" else group.reader.renew_lease)
    group.ids.clear()
    group.rest(ids(some(80, 30)))
    assert group.ids[-90:] == ids(some(90, 20))
    assert group.skipped == 0
    assert group.commit()
    (line,) = told("group-made", caplog)
    assert "the group 'billing' in the table `bridge_readers` was removed, and is made again after event 20" in line
    group.reader.close()
    assert stream.all(GROUP, since="latest") == []


def again(call: Callable[[], bool]) -> bool:
    """As the reader's session does, which tries again in an outage."""
    try:
        return call()
    except SinkUnavailable:
        return call()


def test_a_group_that_is_removed_under_two_readers(tmp_path: Path, group: Group) -> None:
    """The one that stands by makes it again where it was, if it is the first to look."""
    other = Group(tmp_path)
    assert other.fetch() == 0
    change(tmp_path, "DELETE FROM bridge_readers")
    other.rest(ids(some(90, 20)))
    other.reader.close()


@pytest.mark.parametrize("owner", [", owner = ''", ""], ids=["while nobody holds it", "while its reader holds it"])
def test_a_group_that_is_set_ahead(
    tmp_path: Path, stream: Stream, group: Group, owner: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By SQL: told of with both positions, and what was passed over is counted where its reader was there."""
    change(tmp_path, f"UPDATE bridge_readers SET position = 90{owner}")
    if not owner:
        group.reader.close()
        assert stream.all(GROUP) == ids(some(20, 90))
    else:
        assert not group.reader.renew_lease()
        until(lambda: group.fetch() and group.ids[-1] == ids(some(1, 109))[0], 20, "it has come to the end")
        assert group.ids[-20:] == ids(some(20, 90))
        assert group.skipped == 70
    (line,) = told("group-made", caplog)
    assert "was set ahead, past events that were not committed (UPDATE bridge_readers), from 20 to 90" in line


def test_a_group_that_other_readers_have_moved_is_not_set(
    tmp_path: Path, stream: Stream, group: Group, caplog: pytest.LogCaptureFixture
) -> None:
    """By their commits, however far they have come."""
    until(lambda: stream.all(GROUP) == ids(some(90, 20)), 20, "its lease has run out, and another reads")
    assert not group.commit()
    assert group.fetch() == 0
    assert (group.skipped, told("group-made", caplog)) == (0, [])
