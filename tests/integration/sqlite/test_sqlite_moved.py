"""A SQLite file that others move, overwrite or rob of its log while a bridge has it open."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Outcome, SinkUnavailable, notices
from celery_event_bridge.testing import deliver
from tests.support.sqlite_files import backup, copied_over, folded, found, opened, store
from tests.support.streams import ids, some


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
