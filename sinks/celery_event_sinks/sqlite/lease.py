"""A group's position and who may move it: a row of the table `bridge_readers`, in the file of the events.

In the same file, so that a commit is one statement, and so one transaction, that also sees whether the lease is held.
"""

from __future__ import annotations

import math
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_sinks.sqlite import anew, content, moved, overtaken
from celery_event_sinks.sqlite.anew import Read

TABLE = """
CREATE TABLE IF NOT EXISTS bridge_readers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires INTEGER NOT NULL,
    event TEXT
)
"""
"""`event` is the position again and the id of the event there: see `anew`."""
ADDED = (
    "SELECT 1 FROM pragma_table_info('bridge_readers') WHERE name = 'event'",
    "ALTER TABLE bridge_readers ADD event TEXT",
)
TAKE = """
INSERT INTO bridge_readers (name, position, event, owner, expires) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET
    position = excluded.position, event = excluded.event, owner = excluded.owner, expires = excluded.expires
"""
ASKED = "SELECT position, event, expires, owner FROM bridge_readers WHERE name = ?"
RENEW = "UPDATE bridge_readers SET expires = ? WHERE name = ? AND owner = ?"
COMMIT = """
UPDATE bridge_readers SET
    event = CASE WHEN typeof(position) <> 'integer' OR position < ?1 THEN ?2 ELSE event END,
    position = CASE WHEN typeof(position) = 'integer' THEN max(position, ?1) ELSE ?1 END, expires = ?3
WHERE name = ?4 AND owner = ?5
"""


WAITING_SAID_EVERY = 3600.0
"""Seconds between two lines on whom we wait for, which may be for good: one reads, the others stand by."""


class Lease:
    """The right to read for a group, for so many seconds, renewed meanwhile. Raises sqlite3.Error throughout."""

    def __init__(self, group: str, seconds: float) -> None:
        self._group = group
        self._seconds = seconds
        self._seen: tuple[int, str] = (0, "")
        """Time when another one's lease expires by its clock, and its owner, as last found."""
        self._seen_at = 0.0
        self._renewed = 0.0
        self.owner = ""
        """Names this hold of it; empty while it is not held, as far as we know."""
        self._known: Read | None = None
        """The group's position in this file, as last seen or set here; None where there was none."""
        self.skipped = 0
        """Events that somebody has set the group past, since somebody has taken the number from here."""

    def leave_file(self) -> None:
        """Forget about the group in a file that is not the one of that name any more."""
        self.owner, self._known = "", None

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table. Positions survive a power cut."""
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(TABLE)
        content.prepare(connection)
        asked, alter = ADDED
        if connection.execute(asked).fetchone() is None:  # a table of an earlier version
            with _writing(connection):
                if connection.execute(asked).fetchone() is None:
                    connection.execute(alter)

    def take(self, connection: sqlite3.Connection, beginning: Callable[[], int]) -> tuple[Read, Read | None] | None:
        """Return the group's position if the lease could be had, which is `beginning()` for a new group.

        The second value is the position that it had in a table that was begun anew since. A group whose row was
        removed, whoever held it, is made again where it was when it was looked at last.
        """
        if self._is_anothers(connection.execute(ASKED, (self._group,)).fetchone()):
            return None  # without the write lock, for it is asked again and again
        with _writing(connection):
            row = connection.execute(ASKED, (self._group,)).fetchone()
            if self._is_anothers(row):
                return None  # another reader was faster
            if row is not None and not isinstance(row[0], int):
                raise SinkUnavailable(
                    f"group {self._group!r}: its position in the table `bridge_readers` is {row[0]!r}, which is no "
                    "number: set it to the `seq` of the last event that was handled, or DELETE the row to begin anew"
                )
            known = self._known
            if row is not None:
                read = Read.parse(row[0], row[1])
            elif known is not None:
                read = known
            else:
                read = Read(beginning())
            before = None
            if anew.begun_anew(connection, read) is not None:
                read, before = Read(), read
            elif row is not None:
                self.skipped += moved.past(connection, self._group, row[0], Read.noted(row[1]), seen=known is not None)
            elif known is not None:
                moved.tell(self._group, f"was removed, and is made again after event {read.seq}")
            self._take(connection, read)
        return read, before

    def _is_anothers(self, row: tuple[Any, ...] | None) -> bool:
        """Return whether another reader has it; what the row says of the position is noted."""
        if row is None:
            return False
        if isinstance(row[0], int) and Read.noted(row[1]) == row[0]:
            self._known = Read.parse(row[0], row[1])
        return self._held(*row[2:])

    def begin_anew(self, connection: sqlite3.Connection) -> bool:
        """Set the group's position to the beginning of a table that was begun anew, if the lease is held."""
        with _writing(connection):
            asked = "SELECT 1 FROM bridge_readers WHERE name = ? AND owner = ?"
            held = connection.execute(asked, (self._group, self.owner)).fetchone() is not None
            self.owner = self.owner if held else ""
            if held:
                self._take(connection, Read())
        return held

    def _take(self, connection: sqlite3.Connection, read: Read) -> None:
        """Begin a new hold of it, in a transaction."""
        if not read.seq:
            overtaken.forget(connection)
        owner = f"{uuid.uuid4().hex} {socket.gethostname()}:{os.getpid()} {self._seconds:g}"
        connection.execute(TAKE, (self._group, read.seq, str(read), owner, self._expires()))
        self.owner, self._renewed, self._known = owner, time.monotonic(), read

    def _held(self, expires: int, owner: str) -> bool:
        """Return whether another reader has it. Without a renewal it ends after its own length, whatever the clock."""
        now = time.monotonic()
        if (expires, owner) != self._seen:
            self._seen, self._seen_at = (expires, owner), now
        _, whose, length = (*owner.split(" "), "", "")[:3]
        seconds = float(length) if length.replace(".", "", 1).isdecimal() else self._seconds
        left = min((expires - _now()) / 1e6, self._seen_at + seconds - now)
        if left < 0:
            return False
        notices.tell(
            "waiting",
            f"group {self._group!r} is read by {whose or 'another reader'}; waiting for its lease, which ends after "
            f"{math.ceil(left)} s at most if it is not renewed",
            subject=f"lease {self._group}",
            every=WAITING_SAID_EVERY,
            logger="celery_event_bridge.reader",
        )
        return True

    def due(self) -> bool:
        """Return whether it is time to renew."""
        return time.monotonic() - self._renewed > self._seconds / 4

    def renew(self, connection: sqlite3.Connection) -> bool:
        """Renew it; False if another has it."""
        return self._set(connection, RENEW, ())

    def commit(self, connection: sqlite3.Connection, position: int, read: Read) -> bool:
        """Move the position up to this one, and renew; False, and nothing is changed, if another has the lease, or the
        table was begun anew after this was read.
        """
        with _writing(connection):
            if anew.begun_anew(connection, read) is not None:
                return False
            until = anew.read_until(connection, position)
            if not self._set(connection, COMMIT, (position, str(until))):
                return False
        self._known = until
        return True

    def _set(self, connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> bool:
        if not self.owner:
            return False
        if not connection.execute(statement, (*values, self._expires(), self._group, self.owner)).rowcount:
            self.owner = ""
            return False
        self._renewed = time.monotonic()
        return True

    def release(self, connection: sqlite3.Connection) -> None:
        """Let the next one have it at once."""
        if self.owner:
            connection.execute("UPDATE bridge_readers SET expires = 0, owner = '' WHERE owner = ?", (self.owner,))
            self.owner = ""

    def _expires(self) -> int:
        return _now() + round(self._seconds * 1e6)


def _now() -> int:
    return time.time_ns() // 1000


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Transaction with the write lock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
