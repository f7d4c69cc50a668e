"""A table `events` that was begun anew in the same file: its numbers begin at 1 again, and a position means nothing.

It was dropped, renamed, or emptied with its counter (`sqlite_sequence`). Its counter is below a position
then, or another event has the position's number once the counter has passed it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from celery_event_bridge.contract import notices

COUNTER = """
SELECT max(
    coalesce((SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'events'), 0),
    coalesce((SELECT max(seq) FROM events), 0)
)
"""
EVENT = "SELECT hex(id) FROM events WHERE seq = ?"


class Read(NamedTuple):
    """A position, and what was there."""

    seq: int = 0
    event: str = ""
    """The event's id; empty where it was removed, or nobody has looked."""

    @staticmethod
    def noted(text: object) -> int | None:
        """Return the position that what stands beside one was written for; None where it was written for none."""
        beside = text.partition(" ")[0] if isinstance(text, str) else ""
        return int(beside) if beside.isascii() and beside.isdecimal() else None

    @classmethod
    def parse(cls, seq: int, text: object) -> Read:
        """Read what stands beside a position; it counts for that position only, which an operator may have moved."""
        beside, _, event = text.partition(" ") if isinstance(text, str) else ("", "", "")
        return cls(seq, event if beside == str(seq) else "")

    def __str__(self) -> str:
        return f"{self.seq} {self.event}"


def read_until(connection: sqlite3.Connection, seq: int) -> Read:
    """Return the position with its event. Raises sqlite3.Error."""
    row = connection.execute(EVENT, (seq,)).fetchone()
    return Read(seq, "" if row is None else str(row[0]))


def counter(connection: sqlite3.Connection) -> int | None:
    """Return the highest number ever given to an event of the table, None where nobody counts. Raises sqlite3.Error."""
    try:
        return int(connection.execute(COUNTER).fetchone()[0])
    except sqlite3.OperationalError as exc:
        if "sqlite_sequence" not in str(exc):
            raise
        return None  # a table that no bridge has made


def begun_anew(connection: sqlite3.Connection, read: Read) -> int | None:
    """Return the counter where the table is another one than the one that was read, else None. Raises sqlite3.Error.

    In a transaction with what is read or written by it.
    """
    if read.seq <= 0:
        return None
    last = counter(connection)
    if last is None:
        return None
    if last >= read.seq and (not read.event or read_until(connection, read.seq).event in ("", read.event)):
        return None
    return last


def tell(path: Path, group: str | None, position: int, last: int) -> None:
    """Warn that the table is read from its beginning."""
    whose = "this reader's position" if group is None else f"the position of the group {group!r}"
    beyond = "and its last number" if position > last else "where another event is now, and its last number"
    notices.tell(
        "stream-replaced",
        f"SQLite file {path}: its table `events` was begun anew: {whose} is {position}, {beyond} is {last}; "
        "it is read from its beginning, and what the old one held and had not been read is gone",
        subject=f"{path} {group}",
        logger="celery_event_bridge.reader",
    )
