"""Cards of the kind `sqlite`: errors at a call, the disk, and other programs on the same file."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.simulation.faults import Card, Cards, one, set_for
from tests.simulation.sqlite.sqlite_calls import ERRORS, connect

if TYPE_CHECKING:
    from tests.simulation.play import Play


def _fail(play: Play, card: Card) -> None:
    kind: Any = play.kind
    number = one(play, card).process.number
    part = card.who * len(play.replicas) % 1.0
    error = (int(card.much * 40), int(part * len(ERRORS)), card.much * 7 % 1.0)
    kind.disk.fail.setdefault(number, []).append(error)


def _fail_often(play: Play, card: Card) -> None:
    for number in range(10):
        _fail(play, card._replace(much=(card.much + number * 0.037) % 1.0, who=(card.who + number * 0.013) % 1.0))


def _full(play: Play, card: Card) -> None:
    set_for(play, play.kind.disk, "full", True, False, card.seconds(0.1, 10.0))  # type: ignore[attr-defined]


def _slow(play: Play, card: Card) -> None:
    kind: Any = play.kind
    set_for(play, kind.disk, "slow", card.seconds(0.001, 4.0), 0.0, card.who * 5)


def _other(play: Play, begin: str, seconds: float) -> None:
    """Let another program hold a lock."""
    kind: Any = play.kind
    if not kind.path.exists():
        return
    other = connect(f"file:{kind.path}?mode=rw", uri=True, timeout=0.0, isolation_level=None)
    with suppress(sqlite3.OperationalError):
        other.execute(begin)
        other.execute("SELECT count(*) FROM events").fetchone()
        kind.others.append(other)
        play.world.after(seconds, _end, kind, other)
        return
    other.close()


def _end(kind: Any, other: sqlite3.Connection) -> None:
    if other in kind.others:
        kind.others.remove(other)
        other.close()


def _lock(play: Play, card: Card) -> None:
    _other(play, "BEGIN IMMEDIATE", card.seconds(0.05, 10.0))


def _read(play: Play, card: Card) -> None:
    _other(play, "BEGIN", card.seconds(0.5, 30.0))


def _statement(play: Play, statement: str, parameters: tuple[object, ...] = ()) -> list[Any]:
    kind: Any = play.kind
    if not kind.path.exists():
        return []
    other = connect(f"file:{kind.path}?mode=rw", uri=True, timeout=0.0, isolation_level=None)
    try:
        return other.execute(statement, parameters).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        other.close()


def _checkpoint(play: Play, card: Card) -> None:
    modes = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")
    _statement(play, f"PRAGMA wal_checkpoint({modes[int(card.who * 4)]})")


def _delete(play: Play, card: Card) -> None:
    kind: Any = play.kind
    numbers = sorted(kind.stored.values())
    if numbers:
        first = numbers[int(card.who * len(numbers))]
        between = first, first + int(card.much * 50)
        for (event,) in _statement(play, "DELETE FROM events WHERE seq BETWEEN ? AND ? RETURNING id", between):
            kind.deleted(event)


def _vacuum(play: Play, card: Card) -> None:
    _statement(play, "VACUUM")


OF_SQLITE: Cards = {
    "SQLite call failed": _fail,
    "SQLite calls failed": _fail_often,
    "disk full": _full,
    "disk slow": _slow,
    "locked by another program": _lock,
    "read by another program": _read,
    "log folded by another program": _checkpoint,
    "events deleted": _delete,
    "VACUUM": _vacuum,
}
