"""The reader of a SQLite file, while the file fails it."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from tests.support.sqlite_files import opened, store
from tests.support.streams import some


class Failing(sqlite3.Connection):
    """A connection on which so many transactions fail at their end."""

    failures = 0

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement == "ROLLBACK" and Failing.failures:
            Failing.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *parameters)


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_fetch_that_fails_at_its_end_passes_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str | None
) -> None:
    """What it had found is handed out by the next one, also where it was the end of what is read."""
    path, events = tmp_path / "events.db", some(5)
    sink = opened(path)
    store(sink, events)
    sink.close()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
    reader = SqliteReader(SqliteSettings(path=path), Reading(group, ends=True))
    reader.open()
    monkeypatch.setattr(Failing, "failures", 1)
    with pytest.raises(SinkUnavailable, match="disk I/O error"):
        reader.fetch(100, 1.0)
    assert not reader.ended()
    reader.open()
    assert [event.id for event in events] == [record.id for record in reader.fetch(100, 1.0).records]
    assert reader.ended()
    reader.close()
