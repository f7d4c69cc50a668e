"""Faults of an SQLite file."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from random import Random
from typing import cast

from tests.faults.cards import card, hold
from tests.faults.machine import file_size_limited
from tests.faults.stage import REPLICAS, Stage
from tests.servers.debian import until
from tests.stores import SqliteStore


def store_of(stage: Stage) -> SqliteStore:
    return cast("SqliteStore", stage.store)


@card("SQLite locked", sinks=("sqlite",), weight=4)
def locked(stage: Stage, dice: Random) -> None:
    stage.store.stop()
    hold(dice, 0.2, 6)
    stage.store.start()


@card("SQLite's folder moved away", sinks=("sqlite",))
def moved_away(stage: Stage, dice: Random) -> None:
    # The folder and not the file: a new file beside the old one's log would be no file of SQLite's.
    folder = store_of(stage).path.parent
    aside = folder.with_name(f"aside-{time.time_ns()}")
    folder.rename(aside)
    moved_at = time.time_ns() // 1000
    hold(dice, 0, 3)
    folder.mkdir()
    # What was written to the old file later is not in the stream, whatever a bridge believes. A bridge whose clock was
    # stepped had other times.
    with suppress(TimeoutError):  # one that does not notice is left to the oracle
        until(store_of(stage).path.exists, 20, "a bridge has made a new file")
    connection = sqlite3.connect(aside / store_of(stage).path.name)
    later = (moved_at, time.time_ns() // 1000)
    rows = connection.execute("SELECT data FROM events WHERE stored_at NOT BETWEEN ? AND ?", later)
    stage.aside += [row[0] for row in rows]
    connection.close()


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
