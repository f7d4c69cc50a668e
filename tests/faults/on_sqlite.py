"""Faults of an SQLite file."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import cast

from tests.faults.cards import card, hold
from tests.faults.machine import file_size_limited
from tests.faults.stage import REPLICAS, Stage
from tests.faults.workload import event_key
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore


def store_of(stage: Stage) -> SqliteStore:
    return cast("SqliteStore", stage.store)


@card("SQLite locked", sinks=("sqlite",), weight=4)
def locked(stage: Stage, dice: Random) -> None:
    stage.store.stop()
    hold(dice, 0.2, 6)
    stage.store.start()


@card("SQLite's folder moved away", sinks=("sqlite",))
def moved_away(stage: Stage, dice: Random) -> None:
    folder = store_of(stage).path.parent
    aside = folder.with_name(f"aside-{time.time_ns()}")
    folder.rename(aside)
    moved_at = time.time_ns() // 1000
    hold(dice, 0, 3)
    folder.mkdir()
    # What was written to the old file later is not in the stream, whatever a bridge believes. A bridge whose clock was
    # stepped had other times.
    await_new_file(stage)
    set_aside(stage, aside / store_of(stage).path.name, moved_at)


def await_new_file(stage: Stage) -> None:
    with suppress(TimeoutError):  # one that does not notice is left to the oracle
        until(store_of(stage).path.exists, 20, "a bridge has made a new file", patience=1)


def set_aside(stage: Stage, file: Path, moved_at: int) -> None:
    """Take into account what had been confirmed into this file when it was moved, and is read from it alone."""
    connection = sqlite3.connect(file)
    later = (moved_at, time.time_ns() // 1000)
    with suppress(sqlite3.OperationalError):  # no table: what was in the log alone is lost, says the oracle
        rows = connection.execute("SELECT data FROM events WHERE stored_at NOT BETWEEN ? AND ?", later)
        stage.aside += [row[0] for row in rows]
    connection.close()


@card("SQLite's file moved", sinks=("sqlite",), weight=2)
def file_moved(stage: Stage, dice: Random) -> None:
    path = store_of(stage).path
    archive = path.with_name(f"archive-{time.time_ns()}.db")
    path.rename(archive)
    moved_at = time.time_ns() // 1000
    hold(dice, 0, 3)
    await_new_file(stage)
    set_aside(stage, archive, moved_at)


@card("SQLite's file replaced", sinks=("sqlite",), weight=2)
def file_replaced(stage: Stage, dice: Random) -> None:
    """A backup is restored, by a move or by a copy over the file: what is not in it is destroyed, and nothing else."""
    store = store_of(stage)
    backup = store.path.with_name("backup.db")
    backup.unlink(missing_ok=True)
    with closing(sqlite3.connect(store.path)) as connection, closing(sqlite3.connect(backup)) as copy:
        connection.backup(copy)
        kept = {row[0] for row in copy.execute("SELECT data FROM events")}
    hold(dice, 0, 5)
    store.stop()  # so that it is known what is destroyed
    stage.destroyed.update(event_key(body) for body in store.bodies() if body not in kept)
    if dice.random() < 0.5:
        backup.rename(store.path)
    else:
        subprocess.run(["cp", str(backup), str(store.path)], check=True)
    store.start()


@card("SQLite's log deleted", sinks=("sqlite",), weight=2)
def log_deleted(stage: Stage, dice: Random) -> None:
    store_of(stage).path.with_name(store_of(stage).path.name + dice.choice(("-wal", "-shm"))).unlink()
    hold(dice, 0, 3)


@card("SQLite's disk full", sinks=("sqlite",), weight=2)
def disk_full(stage: Stage, dice: Random) -> None:
    size = max(file.stat().st_size for file in store_of(stage).path.parent.iterdir())
    with file_size_limited(stage, range(REPLICAS), dice.choice((0, size // 2, size))):
        hold(dice)


@card("bridge killed in a commit", sinks=("sqlite",), weight=3)
def killed_in_a_commit(stage: Stage, dice: Random) -> None:
    log = store_of(stage).path.with_name(store_of(stage).path.name + "-wal")
    slot = stage.pick(dice)

    def state() -> int:
        return log.stat().st_mtime_ns

    before = state()
    until(lambda: state() != before, 20, "somebody writes to the log", pause=0.0)
    stage.replicas[slot].kill()
    stage.start(slot)
