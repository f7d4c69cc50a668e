"""A SQLite file that nobody has open, or a reader alone: what a killed bridge has left is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from celery_event_bridge import open_reader
from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.sqlite.log import log_of
from tests.support.servers.debian import until
from tests.support.sqlite_files import backup, copied_over, found, judged, opened, store
from tests.support.streams import handle, ids, in_sqlite, some


@pytest.mark.parametrize("how", ["backup", "vacuum", "copy", "half"])
@pytest.mark.parametrize("count", [600, 6000], ids=["the same log", "another log"])
@pytest.mark.parametrize("over", ["moved", "copied"])
@pytest.mark.parametrize("group", [False, True], ids=["a bridge", "a group's reader"])
def test_a_restore_between_a_kill_and_a_start(
    path: Path, how: str, count: int, over: str, group: bool, left_by_a_kill: Callable[..., None]
) -> None:
    """The log that the kill has left is not replayed into the backup; whoever opens it first."""
    left_by_a_kill(path.parent, count, how)
    saved = path.with_name("backup.db")
    if over == "moved":
        saved.rename(path)
    else:
        copied_over(saved, path)
    if group and how in ("backup", "vacuum"):  # a copy without the first log has no table
        with open_reader(f"sqlite:///{path}", "billing", follow=False, lease=1.0) as events:
            handle(events)
    subject = opened(path)
    store(subject, some(300, 10_000))
    subject.close()
    assert set(ids(some(300, 10_000))) <= found(path)


def test_a_log_without_its_file_is_put_aside(path: Path, left_by_a_kill: Callable[..., None]) -> None:
    """SQLite deletes a log beside a file that is not there, with all that was confirmed and lay in it alone."""
    left_by_a_kill(path.parent, 600, "backup")
    archive = path.rename(path.with_name("archive.db"))
    subject = opened(path)
    store(subject, some(10, 10_000))
    subject.close()
    (log,) = path.parent.glob("events.db-wal.*")
    log.rename(archive.with_name("archive.db-wal"))
    assert set(ids([*some(600), *some(1, 50_000)])) == found(archive)


def test_a_log_is_replayed_after_a_kill(path: Path, left_by_a_kill: Callable[..., None]) -> None:
    """The file's own is not put aside, whatever of it was in the file already."""
    for count in (600, 3000):
        left_by_a_kill(path.parent, count, "backup")
        subject = opened(path)
        assert set(ids(some(count))) <= found(path)
        subject.close()
        path.with_name("backup.db").unlink()
    assert not list(path.parent.glob("events.db-wal.*"))


@pytest.mark.parametrize("over", ["moved", "copied"])
@pytest.mark.parametrize("how", ["backup", "vacuum"])
def test_a_restore_under_a_groups_reader_alone(path: Path, over: str, how: str) -> None:
    """It reads the restored file from where that one's position is, and the file is sound: no log of the other's."""
    stream = in_sqlite(path.parent)
    stream.write(some(60))
    with stream.reader("billing") as reader:
        assert ids(some(60)) == [next(reader).id for _ in range(60)]
        saved = backup(path, path.with_name("backup.db"), how)
        for number in range(30):
            stream.write(some(300, 10_000 + 300 * number))
        last = [next(reader) for _ in range(9000)][-1]
        stream.sink.close()
        assert reader.commit(last)
        if over == "moved":
            saved.rename(path)
        else:
            copied_over(saved, path)
        reader._reader.fetch(1, 0)
        later = opened(path)
        store(later, some(60, 2000))
        later.close()
        until(lambda: next(reader).id == some(60, 2000)[-1].id, 20, "it reads on")
    assert set(ids(some(60))) | set(ids(some(60, 2000))) <= found(path)


def test_a_log_is_saved_by_a_groups_reader(path: Path) -> None:
    """It is the last one that has the log open: a bridge has confirmed into it and is gone."""
    stream = in_sqlite(path.parent)
    with stream.reader("billing") as reader:
        stream.write(some(60))
        assert ids(some(60)) == [next(reader).id for _ in range(60)]
        stream.sink.close()
        path.with_name("events.db-wal").unlink()
        reader._reader.fetch(1, 0)
    assert set(ids(some(60))) == found(path)


def test_who_only_looks_changes_nothing(path: Path, left_by_a_kill: Callable[..., None]) -> None:
    """A reader without a group that finds the log of another file says so, and leaves it where it is."""
    left_by_a_kill(path.parent, 6000, "backup")
    path.with_name("backup.db").rename(path)
    before = {file.name for file in path.parent.iterdir()}
    with (
        pytest.raises(SinkUnavailable, match="is the log of another file"),
        open_reader(f"sqlite:///{path}", follow=False, give_up_after=0.5) as events,
    ):
        list(events)
    assert before == {file.name for file in path.parent.iterdir()}


def test_a_log_that_is_cut_short_while_it_is_judged_ends_no_process(
    path: Path, left_by_a_kill: Callable[..., None], spawned: Callable[..., SpawnProcess]
) -> None:
    """Bridges that start side by side do that to each other: looked at through a mapping it would be a SIGBUS."""
    left_by_a_kill(path.parent, 600, "backup")
    judge, log = spawned(judged, path, 200), log_of(path)
    while judge.exitcode is None:
        os.truncate(log, 8 * 2**20)
        os.truncate(log, 100)
    assert 0 == judge.exitcode


def test_a_log_that_cannot_be_judged_now_is_put_aside_by_nobody(path: Path, fails: list[str]) -> None:
    """A lock, or a disk that fails a moment, in the check of a file that was left with its log says nothing of it."""
    left = opened(path)
    store(left, some(100))
    left._file.abandon()  # as by a kill: all that was stored is in the log alone
    fails.append("PRAGMA quick_check(1)")
    with pytest.raises(SinkUnavailable):
        opened(path)
    assert not fails, "it was judged"
    opened(path).close()
    assert {*ids(some(100))} == found(path)
