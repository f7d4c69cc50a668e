"""Rules, rows and tables that others put into SQLite's file: nothing is stored that nobody sees, and it is said why."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from celery_event_bridge.cli.check import sink_findings
from celery_event_bridge.contract import Outcome, SinkUnavailable, notices
from celery_event_bridge.reader import Events, open_reader
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.audits import audit
from tests.support.sqlite_files import found, opened, store, through_sqlite
from tests.support.streams import handle, ids, some

REBUILT = (
    "CREATE TABLE anew AS SELECT * FROM events",
    "DROP TABLE events",
    "ALTER TABLE anew RENAME TO events",
    "CREATE UNIQUE INDEX of_ids ON events (id)",
)
STARTED = "ON events WHEN new.type = 'task-started'"
USED_UP = "UPDATE sqlite_sequence SET seq = 9223372036854775807 WHERE name = 'events'"


@pytest.fixture
def subject(path: Path) -> Iterator[SqliteSink]:
    with closing(opened(path)) as made:
        store(made, some(100))
        yield made


def why(path: Path) -> str:
    """What `check` says of the file."""
    (sink,) = sink_findings("sqlite", SqliteSink, SqliteSettings(path=path))
    assert "FAIL" == sink.verdict
    return sink.text


def test_a_table_that_numbers_nothing_stores_nothing(path: Path, subject: SqliteSink) -> None:
    """By bridge and `check`; readers say so, and an audit does not end with "nothing is missing"."""
    through_sqlite(path, *REBUILT)
    assert {Outcome.RETRY} == {one.outcome for one in deliver(subject, some(20, 9000), 80)}
    with pytest.raises(SinkUnavailable, match="no INTEGER PRIMARY KEY"):
        subject.look()
    assert "ALTER TABLE events RENAME" in why(path)
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]
    for group in (None, "billing"):
        with pytest.raises(SinkUnavailable, match="no INTEGER PRIMARY KEY"), closing(reader(path, group)) as events:
            handle(events)
    done = audit("--from", f"sqlite:///{path}", "--settle", "0", module="tests.support.impatient")
    assert done.returncode != 0
    assert "no INTEGER PRIMARY KEY" in done.stderr
    through_sqlite(path, "ALTER TABLE events RENAME TO events_old")
    with suppress(SinkUnavailable):
        subject.look()
    subject.available()
    through_sqlite(path, "INSERT INTO events SELECT * FROM events_old")
    store(subject, some(20, 9000))
    assert ids([*some(100), *some(20, 9000)]) == read(path)


def reader(path: Path, group: str | None = None) -> Events:
    return open_reader(f"sqlite:///{path}", group, lease=1.0, follow=False, give_up_after=0.0)


def read(path: Path, group: str | None = None) -> list[str]:
    with closing(reader(path, group)) as events:
        return handle(events)


@pytest.mark.parametrize(
    ("rule", "undone", "named"),
    [
        ("CREATE UNIQUE INDEX mine ON events (type, source, key)", "DROP INDEX mine", "index mine"),
        (
            f"CREATE TRIGGER mine AFTER INSERT {STARTED} BEGIN DELETE FROM events WHERE seq = new.seq; END",
            "DROP TRIGGER mine",
            "trigger mine",
        ),
        (
            f"CREATE TRIGGER mine BEFORE INSERT {STARTED} BEGIN SELECT raise(ABORT, 'not today'); END",
            "DROP TRIGGER mine",
            "trigger mine",
        ),
    ],
)
def test_a_rule_that_keeps_events_out_is_found_by_check(
    path: Path, subject: SqliteSink, rule: str, undone: str, named: str
) -> None:
    """As by a bridge that runs, before any event comes; and it goes on once the rule is gone."""
    through_sqlite(path, "DELETE FROM events WHERE seq < 100", rule)
    assert named in why(path)
    with pytest.raises(SinkUnavailable, match=named):
        subject.look()
    assert {Outcome.RETRY} == {one.outcome for one in deliver(subject, some(20, 9000), 80)}
    through_sqlite(path, undone)
    subject.available()
    store(subject, some(20, 9000))
    assert set(ids(some(20, 9000))) <= found(path)


def test_numbers_that_are_used_up_are_no_full_disk(path: Path, subject: SqliteSink) -> None:
    """Both `check` and a bridge say what to do, and what comes is stored once it is done."""
    through_sqlite(path, USED_UP)
    assert "UPDATE sqlite_sequence" in why(path)
    (verdict,) = [one for one in deliver(subject, some(20, 9000), 80) if one.events]
    assert Outcome.RETRY is verdict.outcome
    assert "UPDATE sqlite_sequence" in verdict.reason
    through_sqlite(path, "UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM events) WHERE name = 'events'")
    subject.available()
    store(subject, some(20, 9000))


def test_a_trial_leaves_nothing_behind(path: Path, subject: SqliteSink) -> None:
    """No event, no number, and nothing to be missed."""
    subject.available()
    subject.look()
    with closing(sqlite3.connect(path)) as other:
        assert (100, 100) == other.execute("SELECT count(*), max(seq) FROM events").fetchone()
        assert (100,) == other.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]


def test_a_trial_that_cannot_be_taken_back_is_stored_by_nobody(path: Path, fails: list[str]) -> None:
    """The disk fails as it is taken back, within the transaction of a batch, which is taken back as a whole."""
    with closing(opened(path)) as subject:
        store(subject, some(100))
        for failing in ("ROLLBACK TO trial", "RELEASE trial"):
            through_sqlite(path, "VACUUM")
            fails.append(failing)
            store(subject, some(20, 9000))
            assert not fails, "it has failed"
    assert {*ids(some(100)), *ids(some(20, 9000))} == found(path)


def test_a_look_that_cannot_be_ended_ends_with_its_connection(path: Path, fails: list[str]) -> None:
    """What SQLite calls locked is tried again, but not in a transaction that is open still."""
    with closing(opened(path)) as subject, closing(opened(path)) as other:
        store(subject, some(100))
        fails.append("ROLLBACK")
        with pytest.raises(SinkUnavailable, match="locked"):
            subject.look()
        store(other, some(20, 9000))
        subject.available()


def test_what_a_full_disk_has_taken_back_is_not_missed(path: Path, subject: SqliteSink) -> None:
    """SQLite has rolled it back by itself, and its numbers were nobody's."""
    connection = subject._file.connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    assert {Outcome.RETRY} == {one.outcome for one in deliver(subject, some(2000, 9000), 80)}
    subject.available()
    subject.look()
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]
    store(subject, some(20, 9000))


def test_text_in_our_tables_of_numbers_ends_nothing(path: Path, subject: SqliteSink) -> None:
    """In `bridge_removed` it is told of, and the bridge goes on; in a group's position it is said what to do."""
    assert 100 == len(read(path, "billing"))
    through_sqlite(
        path,
        "CREATE TABLE bridge_removed (one INTEGER PRIMARY KEY, first, last, number)",
        "INSERT INTO bridge_removed VALUES (1, 'x', 'y', 'z')",
    )
    subject.look()
    assert 1 == notices.NOTICES.counts()["stream-advice"]
    store(subject, some(20, 9000))
    assert ids(some(20, 9000)) == read(path, "billing")
    through_sqlite(path, "UPDATE bridge_readers SET position = 'abc'")
    with pytest.raises(SinkUnavailable, match="its position in the table `bridge_readers` is 'abc'"):
        read(path, "billing")
    done = audit("--from", f"sqlite:///{path}", "--settle", "0")
    assert "nothing is missing" in done.stdout
    assert "supported" not in done.stderr
    with closing(opened(path, retention=3600)) as other:
        other.look()


def test_a_position_that_is_made_text_under_a_reader_is_put_right(path: Path, subject: SqliteSink) -> None:
    """By its next commit, and nothing comes twice."""
    with closing(reader(path, "billing")) as events:
        for _ in range(50):
            event = next(events)
        through_sqlite(path, "UPDATE bridge_readers SET position = 'abc'")
        assert events.commit(event)
    assert ids(some(100))[50:] == read(path, "billing")
    subject.look()
