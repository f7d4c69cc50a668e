"""A file of SQLite's that others move, replace, overwrite or rob of its log while bridges and readers have it open."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, notices
from celery_event_bridge.testing import deliver
from celery_event_sinks.sqlite import beside
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.servers.debian import PATIENCE, until
from tests.support.streams import Stream, ids, in_sqlite, some

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


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


# The bridge has it open ---------------------------------------------------------------------------------------------


def test_a_file_that_is_moved_is_finished_first(path: Path) -> None:
    """All that was confirmed is in the file that was moved away or in the new one, though it was in the log alone."""
    events = some(900)
    subject = opened(path)
    store(subject, events[:600])
    archive = path.with_name("archive.db")
    path.rename(archive)
    store(subject, events[600:])
    subject.close()
    assert set(ids(events)) == found(path, archive)
    assert set(ids(events[:600])) <= found(archive)
    assert 1 == notices.NOTICES.counts()["stream-replaced"]
    assert {"events.db", "archive.db"} == {file.name for file in path.parent.iterdir()}


@pytest.mark.parametrize("idle", [True, False], ids=["looked at", "closed"])
def test_a_file_that_is_moved_while_nothing_comes(path: Path, idle: bool) -> None:
    """The look every ten seconds finishes it and goes on in a new file; so does the end of the bridge."""
    events = some(600)
    subject = opened(path)
    store(subject, events)
    archive = path.rename(path.with_name("archive.db"))
    if idle:
        subject.look()
        assert path.exists()
        subject.look()
    subject.close()
    assert set(ids(events)) == found(archive)
    assert not list(path.parent.glob("*-wal*"))


@pytest.mark.parametrize("how", ["backup", "vacuum", "copy", "half"])
@pytest.mark.parametrize("later", ["the same log", "another log"])
@pytest.mark.parametrize("over", ["moved", "copied"])
def test_a_backup_that_is_restored_over_the_open_file(path: Path, how: str, later: str, over: str) -> None:
    """No log of the file before is replayed into it: it is sound, and all that is confirmed from then on is there."""
    events = some(7300)
    subject = opened(path)
    store(subject, events[:300])
    saved = backup(path, path.with_name("backup.db"), how)
    kept = found(saved) if how in ("backup", "vacuum") else set()
    for first in range(300, 7000 if later == "another log" else 600, 300):
        store(subject, events[first : first + 300])
    store(subject, some(1, 50_000))  # so that the last log holds something that is not in the file
    if over == "moved":
        saved.rename(path)
    else:
        copied_over(saved, path)
    store(subject, events[7000:])
    subject.close()
    assert set(ids(events[7000:])) | kept <= found(path)


@pytest.mark.parametrize("end", ["closed", "looked at"])
def test_nothing_of_the_log_gets_into_a_file_that_was_copied_over(path: Path, end: str) -> None:
    """The last connection that is closed writes the log into whatever the file is: not here."""
    subject = opened(path)
    store(subject, some(300))
    folded(path)
    saved = backup(path, path.with_name("backup.db"), "vacuum")
    store(subject, some(300, 1000))
    copied_over(saved, path)
    if end == "looked at":
        subject.look()
        assert set(ids(some(300))) == found(path)
        subject.close()
    else:
        subject.close()
        assert saved.read_bytes() == path.read_bytes()


def test_what_is_left_of_a_log_is_put_aside_with_a_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever restores a backup finds the log of the file before under a name that the line tells."""
    subject = opened(path)
    store(subject, some(300))
    saved = backup(path, path.with_name("backup.db"), "backup")
    store(subject, some(300, 1000))
    saved.rename(path)
    store(subject, some(1, 5000))
    subject.close()
    aside = list(path.parent.glob("events.db-wal.*"))
    assert 1 == len(aside)
    assert str(aside[0]) in caplog.text


def test_a_log_that_is_deleted_is_saved_from_its_handle(path: Path) -> None:
    """What was confirmed and lay in the log alone is in the file afterwards; so is what comes later."""
    events = some(900)
    subject = opened(path)
    store(subject, events[:600])
    path.with_name("events.db-wal").unlink()
    store(subject, events[600:])
    shutil.copytree(path.parent, path.parent.with_name("killed"))  # as a kill now would leave them
    assert set(ids(events)) == found(path.parent.with_name("killed") / path.name)
    subject.close()
    assert set(ids(events)) == found(path)


@pytest.mark.parametrize("gone", ["-shm", "-wal -shm"])
def test_an_index_that_is_deleted_is_as_a_log(path: Path, gone: str) -> None:
    """Whoever opens the file next would make another one beside ours, and both would write."""
    events = some(900)
    subject = opened(path)
    store(subject, events[:600])
    for end in gone.split():
        path.with_name(path.name + end).unlink()
    store(subject, events[600:])
    other = opened(path)
    store(other, some(300, 2000))
    other.close()
    store(subject, some(300, 3000))
    subject.close()
    assert set(ids([*events, *some(300, 2000), *some(300, 3000)])) == found(path)


def test_a_file_that_is_cut_to_nothing(path: Path) -> None:
    """Unavailable, or a new file: never confirmed into nothing."""
    subject = opened(path)
    store(subject, some(300))
    folded(path)
    os.truncate(path, 0)
    later = some(300, 1000)
    store(subject, later)
    subject.close()
    assert set(ids(later)) <= found(path)


def test_a_damaged_file_makes_it_unavailable(path: Path) -> None:
    """With the reason; nothing is confirmed into it."""
    subject = opened(path)
    for number in range(20):
        store(subject, some(300, number * 1000))
    damaged = path.with_name("damaged")
    damaged.write_bytes(b"\xff" * (path.stat().st_size - 4096))
    subprocess.run(
        ["dd", f"if={damaged}", f"of={path}", "bs=4096", "seek=1", "conv=notrunc", "status=none"], check=True
    )
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=r"damaged|malformed"):
            subject.look()
    (verdict,) = deliver(subject, some(300, 90_000), 80)
    assert Outcome.RETRY is verdict.outcome
    subject.close()


def test_a_whole_set_that_was_moved_elsewhere_keeps_its_log(path: Path) -> None:
    """A file and its log that were copied together after a kill, with other inodes, belong together still."""
    events = some(600)
    subject = opened(path)
    store(subject, events)
    elsewhere = path.parent.with_name("elsewhere")
    shutil.copytree(path.parent, elsewhere)
    subject.close()
    other = opened(elsewhere / path.name)
    store(other, some(10, 5000))
    other.close()
    assert set(ids([*events, *some(10, 5000)])) == found(elsewhere / path.name)


def test_a_link_that_leads_to_another_file(path: Path) -> None:
    """The one before stays as it is, with its log; events go into the other one."""
    first, second = path.with_name("one.db"), path.with_name("two.db")
    path.symlink_to(first)
    subject = opened(path)
    store(subject, some(300))
    path.unlink()
    path.symlink_to(second)
    store(subject, some(300, 1000))
    subject.close()
    assert set(ids(some(300))) == found(first)
    assert set(ids(some(300, 1000))) == found(second)


@pytest.mark.parametrize("moment", range(12))
def test_a_file_that_goes_away_at_any_moment(path: Path, moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two of our looks at it: given back with the reason, stored in the next, and no other error."""
    subject = opened(path)
    store(subject, some(300))
    folded(path)  # so that its content is looked at too
    real, left = os.stat, [moment]

    def stat(*given: Any, **more: Any) -> os.stat_result:
        left[0] -= 1
        if left[0] == 0:
            path.rename(path.with_name("archive.db"))
        return real(*given, **more)

    monkeypatch.setattr(os, "stat", stat)
    store(subject, some(300, 1000))
    monkeypatch.undo()
    subject.close()
    archive = path.with_name("archive.db")
    assert set(ids([*some(300), *some(300, 1000)])) == found(*(file for file in (path, archive) if file.exists()))


@pytest.mark.parametrize("name", [b"a b?c#d%41.db", b"not-utf-8-\xff.db", "f\u00fcr.db".encode()])
def test_any_name_is_a_files(tmp_path: Path, name: bytes) -> None:
    """Whatever a URI would take it for, it is the file of that name, and moved it is finished."""
    path = tmp_path / os.fsdecode(name)
    subject = opened(path)
    store(subject, some(30))
    archive = path.rename(tmp_path / "archive.db")
    store(subject, some(30, 100))
    subject.close()
    assert {os.fsdecode(name), "archive.db"} == set(os.listdir(tmp_path))  # noqa: PTH208 - names
    assert set(ids(some(30))) == found(archive)


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


@pytest.fixture
def left_by_a_kill(spawned: Callable[..., SpawnProcess], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a file, a backup of it, and a log that holds what is not in the file."""

    def leave(folder: Path, count: int, how: str) -> None:
        monkeypatch.setenv("HOW", how)
        writer = spawned(killed, folder, count, True)
        writer.join(180)
        assert -signal.SIGKILL == writer.exitcode
        assert (folder / "events.db-wal").stat().st_size

    return leave


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
        Stream("sqlite", f"sqlite:///{path}", None, 1.0).all("billing")
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


# A reader has it open -----------------------------------------------------------------------------------------------


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
    with pytest.raises(SinkUnavailable, match="is the log of another file"):
        Stream("sqlite", f"sqlite:///{path}", None, 1.0).all(give_up_after=0.5)
    assert before == {file.name for file in path.parent.iterdir()}


# What may be done to it ---------------------------------------------------------------------------------------------


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


def test_an_index_alone_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a file whose log was deleted gives those who have it open the time to save it."""
    monkeypatch.setattr(beside, "GRACE", 0.3)
    subject = opened(path)
    store(subject, some(300))
    path.with_name("events.db-wal").unlink()
    late = SqliteSink(SqliteSettings(path=path))
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


def opens(subject: SqliteSink) -> bool:
    try:
        subject.open()
    except SinkUnavailable:
        return False
    return True
