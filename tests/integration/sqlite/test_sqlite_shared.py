"""A SQLite file that several processes have open while it is moved, robbed or changed."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.servers.debian import until
from tests.support.sqlite_files import found, opened, opens, spawn, store, write_on
from tests.support.streams import ids, some


def moved(path: Path) -> list[Path]:
    return [path.rename(path.with_name("archive.db"))]


def robbed(path: Path) -> list[Path]:
    path.with_name("events.db-wal").unlink()
    return []


def robbed_of_the_index(path: Path) -> list[Path]:
    path.with_name("events.db-shm").unlink()
    return []


@pytest.mark.parametrize("fault", [moved, robbed, robbed_of_the_index])
@pytest.mark.parametrize("with_kill", [False, True], ids=["all live", "one is killed"])
def test_several_bridges_on_one_file(
    path: Path, fault: Callable[[Path], list[Path]], with_kill: bool, spawned: Callable[..., SpawnProcess]
) -> None:
    """Three write, somebody moves the file or deletes its log, one is killed: all that was confirmed is there."""
    stop = spawn.Event()
    # A pipe each: who is killed while it holds a lock that the others share would stop them.
    pipes = [spawn.Pipe(duplex=False) for _ in range(3)]
    writers = [spawned(write_on, path.parent, n * 1_000_000, stop, pipe[1]) for n, pipe in enumerate(pipes)]
    for _, theirs in pipes:
        theirs.close()
    told: list[tuple[float, list[str]] | None] = []
    writing: set[int] = set()

    def heard(count: int) -> bool:
        for number, (ours, _) in enumerate(pipes):
            try:
                while not ours.closed and ours.poll():
                    told.append(ours.recv())
                    writing.add(number)
            except (EOFError, OSError):  # it was killed
                ours.close()
        return len(told) >= count

    # All three have it open: what lay in a log whose last handle was the killed one's is in no file any more.
    until(lambda: heard(150) and len(writing) == 3, 30, "they write")
    others = fault(path)
    if with_kill:
        os.kill(writers[0].pid or 0, signal.SIGKILL)
        writers[0].join()
    assert heard(0)
    known = len(told)
    until(lambda: heard(known + 150), 20, "they write on", pause=0.1)
    stop.set()
    ended = 3 - with_kill
    until(lambda: heard(0) and sum(one is None for one in told) >= ended, 30, "they end", pause=0.1)
    for writer in writers:
        writer.join(180)
    expected = {one for batch in told if batch is not None for one in batch[1]}
    assert not expected - found(path, *others)
    for ours, _ in pipes:
        ours.close()


@pytest.mark.parametrize(
    "statements",
    [
        ["VACUUM"],
        ["CREATE INDEX mine ON events (type)"],
        ["DELETE FROM events WHERE seq < 100"],
        ["PRAGMA wal_checkpoint(TRUNCATE)"],
        ["CREATE TABLE mine (x)", "VACUUM", "INSERT INTO mine VALUES (1)"],
        ["DELETE FROM events", "DELETE FROM sqlite_sequence"],
    ],
)
def test_what_others_do_through_sqlite_is_no_replacement(path: Path, statements: list[str]) -> None:
    """An index of their own, a VACUUM, a removal of rows: the file and its log are still one."""
    subject = opened(path)
    for number in range(3):
        store(subject, some(300, number * 1000))
        other = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            other.execute(statement.replace("mine", f"mine{number}"))
        other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        other.close()
        subject.look()
    last = some(300, 9000)
    store(subject, last)
    subject.close()
    assert set(ids(last)) <= found(path)
    assert 0 == notices.NOTICES.counts()["stream-replaced"]


def test_an_index_alone_is_waited_for(path: Path) -> None:
    """Whoever opens a file whose log was deleted gives those who have it open the time to save it."""
    subject = opened(path)
    store(subject, some(300))
    path.with_name("events.db-wal").unlink()
    late = SqliteSink(SqliteSettings(path=path), grace=0.3)
    with pytest.raises(SinkUnavailable, match="its log was removed"):
        late.open()
    subject.look()
    late.open()
    store(late, some(300, 1000))
    late.close()
    store(subject, some(10, 5000))
    subject.close()
    assert set(ids([*some(300), *some(300, 1000), *some(10, 5000)])) == found(path)
    path.with_name("events.db-shm").write_bytes(b"x" * 100)  # of somebody who has ended
    until(lambda: opens(late), 5, "it is put aside", pause=0.1)
    late.close()
