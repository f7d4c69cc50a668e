"""Writing of the log into the file, as far as readers allow it."""

from __future__ import annotations

import sqlite3


def fold(connection: sqlite3.Connection) -> int:
    """Write what can be written, and return the bytes that could not. Raises sqlite3.Error."""
    _, pages, written = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int(max(0, pages - written) * size)


def drain(connection: sqlite3.Connection) -> bool:
    """Write all of it and cut the log to nothing, without the transaction that is open; whether that was possible."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        busy, pages, written = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return bool(not busy and pages == written)
