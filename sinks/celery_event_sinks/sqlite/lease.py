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
from collections.abc import Callable

from celery_event_bridge.contract import notices
from celery_event_sinks.sqlite import content

TABLE = """
CREATE TABLE IF NOT EXISTS bridge_readers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires INTEGER NOT NULL
)
"""
TAKE = """
INSERT INTO bridge_readers (name, position, owner, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires
"""
UPDATE = "UPDATE bridge_readers SET position = max(position, ?), expires = ? WHERE name = ? AND owner = ?"


WAITING_SAID_EVERY = 3600.0
"""Seconds between two lines on whom we wait for, which may be for good: one reads, the others stand by."""


class Lease:
    """The right to read for a group, for so many seconds, renewed meanwhile. Raises sqlite3.Error throughout."""

    def __init__(self, group: str, seconds: float) -> None:
        self._group = group
        self._seconds = seconds
        self._seen: tuple[int, str] = (0, "")
        """When another one's lease expires by its clock, and its owner, as last found."""
        self._seen_at = 0.0
        self._renewed = 0.0
        self.owner = ""
        """Names this hold of it; empty while it is not held, as far as we know."""

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table. Positions survive a power cut."""
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(TABLE)
        content.prepare(connection)

    def take(self, connection: sqlite3.Connection, beginning: Callable[[], int]) -> int | None:
        """The group's position if the lease could be had, which is `beginning()` for a new group."""
        asked = "SELECT expires, owner FROM bridge_readers WHERE name = ?"
        row = connection.execute(asked, (self._group,)).fetchone()
        if row is not None and self._held(*row):
            return None  # without the write lock, for it is asked again and again
        owner = f"{uuid.uuid4().hex} {socket.gethostname()}:{os.getpid()} {self._seconds:g}"
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(
                "SELECT position, expires, owner FROM bridge_readers WHERE name = ?", (self._group,)
            ).fetchone()
            if row is not None and self._held(*row[1:]):
                return None  # another reader was faster
            position = beginning() if row is None else int(row[0])
            connection.execute(TAKE, (self._group, position, owner, self._expires()))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self.owner, self._renewed = owner, time.monotonic()
        return position

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

    def renew(self, connection: sqlite3.Connection, position: int = 0) -> bool:
        """Renew it, and move the position up to `position`; False, and nothing is changed, if another has it."""
        if not self.owner:
            return False
        values = (position, self._expires(), self._group, self.owner)
        if not connection.execute(UPDATE, values).rowcount:
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
