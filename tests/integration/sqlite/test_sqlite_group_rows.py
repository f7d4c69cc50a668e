"""Groups of SQLite whose file, or whose row in it, somebody takes away or sets under their readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_bridge.contract.notices import NOTICES
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
