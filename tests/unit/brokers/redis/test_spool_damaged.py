"""A spool file that is damaged while its bridge runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.spool import Spool
from celery_event_bridge.brokers.redis.spooled import SpooledWindow


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
