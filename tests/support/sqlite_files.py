"""Files of SQLite that others copy, move and rob of their logs, and processes that write to them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite.log import verdict
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.servers.debian import PATIENCE
from tests.support.streams import ids, some

spawn = multiprocessing.get_context("spawn")


FOLDED_AFTER = 1000
"""Pages of the log: few enough for some thousand events to begin it anew."""


def opened(path: Path, **settings: Any) -> SqliteSink:
    subject = SqliteSink(SqliteSettings(path=path, **settings), wal_pages=FOLDED_AFTER)
    subject.open()
    return subject


def store(subject: SqliteSink, events: list[Event]) -> list[Event]:
    """As the relay does: hand over again what is given back, until all is stored. Returns what was stored."""
    left, done = events, []
    deadline = time.monotonic() + 15 * PATIENCE
    while left and time.monotonic() < deadline:
        verdicts = deliver(subject, left, 80)
        stored = {id(event) for one in verdicts if one.outcome is Outcome.STORED for event in one.events}
        done += [event for event in left if id(event) in stored]
        left = [event for event in left if id(event) not in stored]
        if left:
            try:
                subject.available()
            except SinkUnavailable:
                time.sleep(0.05)
    assert not left, "stored again"
    return done


def found(*files: Path) -> set[str]:
    """The ids in these files, each of which is sound, with its own log or none."""
    there: set[str] = set()
    for file in files:
        connection = sqlite3.connect(file)
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
        there |= {row[0] for row in connection.execute("SELECT id FROM events")}
        connection.close()
    return there


def backup(path: Path, to: Path, how: str) -> Path:
    """A copy of the file, as people make one."""
    connection = sqlite3.connect(path)
    if how == "half":
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    if how == "backup":
        other = sqlite3.connect(to)
        connection.backup(other)
        other.close()
    elif how == "vacuum":
        connection.execute("VACUUM INTO ?", (str(to),))
    else:
        copied_over(path, to)  # without its log: what was in there is not in the copy
    connection.close()
    return to


def copied_over(source: Path, path: Path) -> None:
    """By another process: whoever closes a file loses all locks that his process has on it, and SQLite has some."""
    subprocess.run(["cp", str(source), str(path)], check=True)


def folded(path: Path) -> None:
    """What a bridge does each thousand pages: the log is written into the file."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.close()


# Nobody has it open -------------------------------------------------------------------------------------------------


def killed(folder: Path, count: int, again: bool) -> None:
    """In a process of its own: store, and end without a word."""
    subject = opened(folder / "events.db")
    store(subject, some(300))
    if again:
        backup(folder / "events.db", folder / "backup.db", os.environ["HOW"])
    for first in range(300, count, 300):
        store(subject, some(300, first))
    store(subject, some(1, 50_000))  # so that the last log holds something that is not in the file
    os.kill(os.getpid(), signal.SIGKILL)


def judged(path: Path, times: int) -> None:
    """In a process of its own: judge the log beside the file, so often."""
    for _ in range(times):
        verdict(path)


# Several processes --------------------------------------------------------------------------------------------------


def write_on(folder: Path, first: int, stop: Any, confirmed: Any) -> None:
    """In a process of its own: store batches until told to stop, and tell of each that is confirmed."""
    subject, number = SqliteSink(SqliteSettings(path=folder / "events.db"), wal_pages=FOLDED_AFTER), first
    while not stop.is_set():
        try:
            events = some(20, number)
            if {Outcome.STORED} == {one.outcome for one in deliver(subject, events, 80)}:
                confirmed.send((time.time(), ids(events)))
                number += 20
            else:
                subject.available()
        except SinkUnavailable:
            time.sleep(0.05)
    subject.close()
    confirmed.send(None)


def opens(subject: SqliteSink) -> bool:
    try:
        subject.open()
    except SinkUnavailable:
        return False
    return True


def through_sqlite(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
