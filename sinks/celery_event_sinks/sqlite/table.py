"""The table `events`: how it is made, how one of an earlier version is carried over, and what is written and read.

Bridges of several versions may have one file open: each names the columns that it writes, and reads those that are
there. So the number of the schema is the first one still; a column that is added may be NULL.
"""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT,
    key TEXT NOT NULL,
    time INTEGER,
    data BLOB NOT NULL,
    content_type TEXT NOT NULL,
    stored_at INTEGER NOT NULL,
    broker TEXT
)
"""
INSERT = """
INSERT INTO events (id, type, source, subject, key, time, data, content_type, broker, stored_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
EARLIER = """
INSERT INTO events (id, type, source, subject, key, time, data, content_type, stored_at)
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0 ON CONFLICT (id) DO NOTHING
"""
"""Nothing, into the columns that every version has."""
ADD = "ALTER TABLE events ADD COLUMN broker TEXT"
COLUMN = "SELECT 1 FROM pragma_table_info('events') WHERE name = 'broker'"
READ = "seq, id, type, source, subject, time, data, content_type, stored_at, "


CACHE = 16 * 1024
"""KiB of pages in memory. With SQLite's own 2 MiB the index over ids is read again and again: half of what lists cost
was the kernel's part of it."""
LOG_LIMIT = 16 * 2**20
"""Bytes that the log is cut to once it is folded into the file, after it had to grow."""


def tune(connection: sqlite3.Connection) -> None:
    """Set how much of the file is in memory, and how large its log may stay. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    connection.execute(f"PRAGMA cache_size = -{CACHE}")


def prepare(connection: sqlite3.Connection) -> None:
    """Make it, or carry it over, in a transaction that is open. Raises sqlite3.Error."""
    connection.execute(SCHEMA)
    # Another program's table of that name is found out here, not at the first event, and gets no column.
    connection.execute(EARLIER)
    if not names_brokers(connection):
        connection.execute(ADD)


def names_brokers(connection: sqlite3.Connection) -> bool:
    """Return whether it has the column that an earlier version did not make. Raises sqlite3.Error."""
    return connection.execute(COLUMN).fetchone() is not None


def read(connection: sqlite3.Connection) -> str:
    """Return the columns that a reader selects, by what there is. Raises sqlite3.Error."""
    return READ + ("broker" if names_brokers(connection) else "NULL")
