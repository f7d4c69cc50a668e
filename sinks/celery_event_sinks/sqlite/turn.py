"""Turn to write: another writer's lock is waited for in slices, between which the relay sees to its broker.

On a Redis broker a lease is renewed every 0.4 seconds and lost after 2: a wait of that length in one piece loses it.
"""

from __future__ import annotations

import sqlite3
import time

from celery_event_sinks.sqlite.file import BUSY_TIMEOUT

SLICE = 0.2
"""Seconds of one wait."""


class Turn:
    """Follows how long the lock has been waited for."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begun(self, connection: sqlite3.Connection) -> bool:
        """Begin a transaction that writes; False where another one has the lock still, for BUSY_TIMEOUT at most.

        Raises sqlite3.Error, also where it has been waited for as long as that.
        """
        connection.execute(f"PRAGMA busy_timeout = {round(SLICE * 1000)}")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            now = time.monotonic()
            since = self._since = now - SLICE if self._since is None else self._since
            if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY and now - since < BUSY_TIMEOUT:
                return False
            self._since = None
            raise
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000)}")
        self._since = None
        return True
