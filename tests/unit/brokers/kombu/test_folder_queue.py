"""The queue on the transport `filesystem`: files that are half written, folders of who is gone, and who is faster."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_event_bridge.brokers.kombu.folder import FolderQueue, others
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support.folders import Folders

BODY = b'{"type":"task-sent"}'


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A broker."""
    return Folders(tmp_path)


@pytest.fixture
def queue(folders: Folders) -> Iterator[FolderQueue]:
    """A replica's queue, opened."""
    made = FolderQueue(folders.settings())
    made.open()
    yield made
    made.drop()


def bodies(queue: FolderQueue) -> list[bytes]:
    """What it has now."""
    return [heard.body for _, heard in queue.take("a lane", 1, 100, 10_000)]


def test_a_file_is_read_once_its_writer_is_done(folders: Folders, queue: FolderQueue) -> None:
    """Kombu makes a file, locks it, and fills it: neither an empty nor a locked one is taken for a message."""
    folders.publish([BODY])
    [path] = folders.waiting()
    content = path.read_bytes()
    path.write_bytes(b"")
    assert [] == bodies(queue)
    [held] = folders.in_hand()
    with held.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        assert [] == bodies(queue)
    assert [BODY] == bodies(queue)
    assert [] == bodies(queue)


def test_a_file_that_is_never_finished_is_handed_over_as_it_is(folders: Folders) -> None:
    """Its writer was killed: nothing can decode it, and so it is parked."""
    queue = FolderQueue(folders.settings(), half_written=0.0)
    queue.open()
    (folders.messages / "1_x.celeryev.bridge.msg").write_bytes(b'{"body": "eyJ')
    assert [b'{"body": "eyJ'] == bodies(queue)
    queue.drop()


def test_a_file_that_nests_deeper_than_anything_is_handed_over_as_it_is(folders: Folders) -> None:
    """It ends no bridge, which the next one would take it over from."""
    queue = FolderQueue(folders.settings(), half_written=0.0)
    queue.open()
    deep = b"[" * 100_000 + b"]" * 100_000
    (folders.messages / "1_x.celeryev.bridge.msg").write_bytes(deep)
    assert [deep] == bodies(queue)
    queue.drop()


@pytest.mark.parametrize("kind", ["a folder", "a link to nothing"])
def test_what_is_no_file_holds_up_nobody(folders: Folders, queue: FolderQueue, kind: str) -> None:
    """It stays where it is, and is told of; what lies behind it is received."""
    odd = folders.messages / "1_x.celeryev.bridge.msg"
    odd.mkdir() if kind == "a folder" else odd.symlink_to(folders.messages / "nothing")
    folders.publish([BODY])
    before = notices.NOTICES.counts()["waiting"]
    assert [BODY] == bodies(queue)
    assert [] == bodies(queue)
    assert [odd] == folders.waiting()
    assert before + 1 == notices.NOTICES.counts()["waiting"]


def test_two_replicas_have_each_file_once(folders: Folders, queue: FolderQueue) -> None:
    """Whoever moves it first has it, though both have seen it."""
    other = FolderQueue(folders.settings())
    other.open()
    folders.publish([BODY] * 4)
    first = queue.take("a lane", 1, 1, 10_000)
    second = other.take("a lane", 1, 1, 10_000)
    rest = queue.take("a lane", 2, 100, 10_000)
    assert [] == other.take("a lane", 2, 100, 10_000)
    assert 4 == len({name for name, _ in (*first, *second, *rest)})
    other.drop()
    queue.look_after()
    assert second[0][0] == folders.waiting()[0].name


def test_what_is_put_back_counts_as_delivered_before(folders: Folders, queue: FolderQueue) -> None:
    """The flag is the metric's alone."""
    folders.publish([BODY])
    [(name, heard)] = queue.take("a lane", 1, 100, 10_000)
    assert not heard.redelivered
    queue.put_back(name)
    [(name, heard)] = queue.take("a lane", 2, 100, 10_000)
    assert heard.redelivered
    queue.forget(name)
    assert [] == folders.waiting() == folders.in_hand()


def test_a_live_replicas_folder_is_left_alone(folders: Folders, queue: FolderQueue) -> None:
    """Its lock is held, however long it stands still."""
    folders.publish([BODY])
    assert [BODY] == bodies(queue)
    other = FolderQueue(folders.settings())
    other.open()
    other.look_after()
    assert [] == bodies(other)
    assert ["", ""] == others(folders.settings())
    other.drop()


def test_a_binding_that_is_gone_is_made_again_and_told_of(folders: Folders, queue: FolderQueue) -> None:
    """Another program may have written the table anew, in which a process's own memory of it is no help."""
    before = notices.NOTICES.counts()["gap"]
    table = Path(folders.options["control_folder"]) / "celeryev.exchange"
    assert {"celeryev.bridge"} == folders.bound()
    table.write_text("[]")
    queue.look_after()
    assert {"celeryev.bridge"} == folders.bound()
    assert before + 1 == notices.NOTICES.counts()["gap"]


def test_a_folder_that_is_removed_under_a_bridge_is_an_outage(folders: Folders, queue: FolderQueue) -> None:
    """It is opened anew then; nothing is taken for a message that another replica has."""
    folders.publish([BODY] * 2)
    assert [BODY] * 2 == bodies(queue)
    for path in [*folders.messages.glob(".celeryev.bridge/*/*"), *folders.messages.glob(".celeryev.bridge/*")]:
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(BrokerUnavailable, match="was removed"):
        queue.look_after()
    queue.drop()
    queue.open()
    folders.publish([BODY])
    assert [BODY] == bodies(queue)


def test_kombus_own_files_of_other_queues_stay(folders: Folders, queue: FolderQueue) -> None:
    """Tasks are in the same folder."""
    task = folders.messages / "5_y.celery.msg"
    task.write_text(json.dumps({"body": ""}))
    (folders.messages / "6_z.celeryev.bridge.rejected.msg").write_text("{}")
    assert [] == bodies(queue)
    assert 0 == queue.size()
    assert task.exists()
