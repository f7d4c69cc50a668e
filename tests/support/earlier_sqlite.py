"""A SQLite file of the version before brokers had names, and a bridge and a reader of it, by their SQL as it was."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from celery_event_bridge.contract import Event

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
    stored_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS bridge_file (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mark TEXT NOT NULL,
    clock INTEGER
);
CREATE TABLE IF NOT EXISTS bridge_removed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    number INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS bridge_readers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires INTEGER NOT NULL,
    event TEXT
);
INSERT INTO bridge_file (one, device, inode, mark) VALUES (1, 0, 0, '') ON CONFLICT DO NOTHING;
PRAGMA user_version = 1;
"""
CHECKED = """
INSERT INTO events (id, type, source, subject, key, time, data, content_type, stored_at)
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0 ON CONFLICT (id) DO NOTHING
"""
INSERT = """
INSERT INTO events (id, type, source, subject, key, time, data, content_type, stored_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
ROWS = """
SELECT seq, id, type, source, subject, time, data, content_type, stored_at
FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
GROUP = "INSERT INTO bridge_readers (name, position, owner, expires) VALUES (?, ?, '', 0)"


class EarlierBridge:
    """Its one connection, which it keeps open."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=20)
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        self.connection.executescript(SCHEMA)
        self.connection.execute(CHECKED)

    def store(self, events: Sequence[Event]) -> None:
        """Store them as it does, in one transaction."""
        now = time.time_ns() // 1000
        self.connection.execute("BEGIN IMMEDIATE")
        rows = [
            (one.id, one.type, one.source, one.subject, one.key, one.time, one.data, one.content_type, now)
            for one in events
        ]
        self.connection.executemany(INSERT, rows)
        self.connection.execute("COMMIT")

    def read(self) -> list[str]:
        """Return the ids that a reader of that version finds."""
        return [row[1] for row in self.connection.execute(ROWS, (0, 2**63 - 1, 10_000))]

    def close(self) -> None:
        self.connection.close()


def made(path: Path, events: Sequence[Event], group: str = "", position: int = 0) -> Path:
    """Make a file with these events, and a group that has come so far."""
    bridge = EarlierBridge(path)
    bridge.store(events)
    if group:
        bridge.connection.execute(GROUP, (group, position))
    bridge.close()
    return path


def columns(path: Path) -> list[str]:
    """Return the names of the columns that the table has now."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [row[0] for row in connection.execute("SELECT name FROM pragma_table_info('events')")]
    finally:
        connection.close()
