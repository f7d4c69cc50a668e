"""A spool file that somebody deletes or replaces under its bridge, and the lock beside it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.brokers.redis.spool import Spool
from celery_event_bridge.brokers.redis.spooled import Inheritance, Spooling
from celery_event_bridge.contract import LOOK_INTERVAL, notices
from celery_event_bridge.contract.broker import Ack


def payload(number: int) -> bytes:
    return sealed(b"%07d" % number + b"." * 2000, "application/json", {}, "celeryev", "task.sent")


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


@pytest.fixture
def spooling(tmp_path: Path) -> Spooling:
    """One whose file holds what memory has no room for."""
    settings = Settings(broker_url="redis://h", spool=tmp_path / "spool", queue="q", max_inflight_bytes=64 * 1024)
    made = Spooling(settings, time)
    for number in range(100):
        made.window.hear(payload(number))
    made.attend(0.0)
    made.attend(1.0)
    return made


def everything(folder: Path) -> list[int]:
    """Return what the next one finds there."""
    after = Spool(folder, "q", 2**40)
    after.adopt(time.time() + 60)
    inherited = Inheritance(after)
    found = inherited.take(1000)
    if found:
        inherited.acknowledge([Ack(found[-1].lane, found[-1].tag, multiple=True)])
    after.close()
    return [int(each.body[:7]) for each in found]


def deleted(folder: Path) -> None:
    for each in folder.iterdir():
        each.unlink()


def replaced(folder: Path) -> None:
    (file,) = folder.glob("*.spool")
    file.unlink()
    sqlite3.connect(file).close()
    file.write_bytes(b"")


HOW: dict[str, Callable[[Path], None]] = {
    "the file": lambda folder: next(folder.glob("*.spool")).unlink(),
    "all files": deleted,
    "the directory": shutil.rmtree,
    "the directory moved": lambda folder: (folder.rename(folder.with_name("away")), None)[1],
    "another file in its place": replaced,
}


@pytest.mark.parametrize("how", HOW)
def test_what_was_in_a_file_that_is_deleted_is_carried_over(
    spooling: Spooling, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """It is told of, and who comes after this one finds all of it, with what was heard since."""
    folder = tmp_path / "spool"
    HOW[how](folder)
    for number in range(100, 120):
        spooling.window.hear(payload(number))
    spooling.attend(LOOK_INTERVAL + 2)
    assert 1 == notices.NOTICES.counts()["stream-replaced"]
    assert "was deleted, moved or replaced under this bridge" in caplog.text
    spooling.attend(2 * LOOK_INTERVAL + 3)
    assert 1 == notices.NOTICES.counts()["stream-replaced"]
    for number in range(120, 140):
        spooling.window.hear(payload(number))
    spooling.close(3 * LOOK_INTERVAL)
    shutil.rmtree(folder.with_name("away"), ignore_errors=True)
    assert [*range(140)] == everything(folder)


def test_a_file_that_is_deleted_shortly_before_the_end_is_carried_over(spooling: Spooling, tmp_path: Path) -> None:
    """The last look is the stop's."""
    shutil.rmtree(tmp_path / "spool")
    spooling.close(3.0)
    assert [*range(100)] == everything(tmp_path / "spool")


def test_what_was_inherited_is_carried_over_with_its_numbers(tmp_path: Path) -> None:
    """What is in hand meanwhile is removed when it is confirmed."""
    left, spool = Spool(tmp_path, "q", 2**40), Spool(tmp_path, "q", 2**40)
    left.leave(payload(number) for number in range(10))
    left.close()
    spool.adopt(0.0)
    inherited = Inheritance(spool)
    taken = inherited.take(6)
    deleted(tmp_path)
    spool.see_to_file()
    inherited.acknowledge([Ack(taken[-1].lane, taken[-1].tag, multiple=True)])
    spool.close()
    assert [*range(6, 10)] == everything(tmp_path)


def test_while_no_other_file_can_be_made_the_deleted_one_is_used(spooling: Spooling, tmp_path: Path) -> None:
    """It is readable as long as it is open; the next look tries again."""
    folder = tmp_path / "spool"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    spooling.attend(LOOK_INTERVAL + 2)
    assert 1 == notices.NOTICES.counts()["waiting"]
    spooling.window.hear(payload(100))
    folder.unlink()
    spooling.attend(2 * LOOK_INTERVAL + 3)
    spooling.close(3 * LOOK_INTERVAL)
    assert [*range(101)] == everything(folder)


def test_a_lock_that_is_deleted_lets_nobody_take_the_file(spooling: Spooling, tmp_path: Path) -> None:
    """Or what is in it would be sent by two; with the next look it is there again."""
    folder = tmp_path / "spool"
    (lock,) = folder.glob("*.lock")
    lock.unlink()
    assert [] == everything(folder)
    lock.unlink(missing_ok=True)
    spooling.attend(LOOK_INTERVAL + 2)
    assert lock.exists()
    assert [] == everything(folder)
    spooling.close(3 * LOOK_INTERVAL)
    assert [*range(100)] == everything(folder)
