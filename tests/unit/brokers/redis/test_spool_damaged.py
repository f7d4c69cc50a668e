"""A spool file that is damaged while its bridge runs, or cannot be written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.spool import BUFFER, Spool
from celery_event_bridge.brokers.redis.spooled import SpooledWindow
from celery_event_bridge.contract.broker import Ack


def payload(number: int) -> bytes:
    return sealed(b"%d" % number, "application/json", {}, "celeryev", "task.sent")


def test_a_file_that_is_damaged_is_put_aside_and_told_of(tmp_path: Path) -> None:
    """What was in it is counted as dropped, and what is heard from then on goes into another one."""
    spool = Spool(tmp_path, "q", 2**40)
    window = SpooledWindow(2000, 0.0, spool, "celeryev")
    for number in range(60):
        window.hear(payload(number))
    spool.flush()
    [file] = tmp_path.glob("*.spool")
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    file.write_bytes(file.read_bytes()[:100] + b"\xff" * (file.stat().st_size - 100))
    numbers, dropped = [], 0
    for number in range(60, 90):
        taken, holes = window.take(20)
        numbers += [heard.tag for heard in taken]
        dropped += sum(hole.dropped for hole in holes)
        window.hear(payload(number))
    while window.waiting:
        taken, holes = window.take(20)
        numbers += [heard.tag for heard in taken]
        dropped += sum(hole.dropped for hole in holes)
    assert 90 == len(numbers) + dropped
    assert numbers[-1] == 90
    assert 0 < dropped < 60
    spool.close()
    assert file.with_suffix(".damaged").exists()
    assert not file.exists()


def drained(window: SpooledWindow) -> tuple[list[int], int]:
    """Take and acknowledge until nothing comes; return the numbers, and how many were dropped."""
    found: list[int] = []
    dropped = 0
    while (taken := window.take(1000))[0] or taken[1]:
        found += [int(each.body) for each in taken[0]]
        dropped += sum(hole.dropped for hole in taken[1])
        if taken[0]:
            window.acknowledge([Ack(taken[0][-1].lane, taken[0][-1].tag, multiple=True)])
        window.tidy()
    return found, dropped


def test_a_file_that_cannot_be_written_drops_what_has_no_room_and_ends_no_subscription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: what memory and the buffer have no room for is counted as dropped, and in order all the same."""
    place = tmp_path / "spool"
    place.write_text("")
    spool = Spool(place, "q", 2**40)
    window = SpooledWindow(2000, 0.0, spool, "celeryev")
    monkeypatch.setattr("celery_event_bridge.brokers.redis.spool.RETRY", 0.0)
    for number in range(1, 2001):
        window.hear(payload(number))
    assert BUFFER >= len(spool._buffer)
    window.tidy()
    found, dropped = drained(window)
    assert [*range(1, len(found) + 1)] == found
    assert len(found) > BUFFER
    assert 2000 == len(found) + dropped
    place.unlink()
    for number in range(2001, 2101):
        window.hear(payload(number))
    window.tidy()
    assert ([*range(2001, 2101)], 0) == drained(window)
    spool.close()
