"""SQLite: an embedded file, in WAL mode and fully synced, that several processes may write and anyone may read.

A batch is one transaction and one fsync. The id is unique, so an event that is stored again changes nothing.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from celery_event_bridge.contract import BlockingSink, Event, EventRefused, SinkUnavailable
from celery_event_bridge.contract.values import OptionalSeconds

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another writer's lock; the loop stands still meanwhile. With three writers that each sync,
waits of 2 s were seen."""
WAL_PAGES = 1000
"""Pages in the write-ahead log before it is folded into the file (SQLite's own default, about 4 MB)."""
RETENTION_INTERVAL = 60.0
"""Seconds between two removals of what is older than the retention."""
RETENTION_CHUNK = 5000
"""Rows removed at a time, so that no writer waits for long."""

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
    stored_at INTEGER NOT NULL
)
"""
INSERT = """
INSERT INTO events (id, type, source, subject, key, time, data, content_type, stored_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
EXPIRE = "DELETE FROM events WHERE stored_at < ? AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT ?)"


class SqliteSettings(BaseModel):
    """`BRIDGE_SQLITE_*`."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    path: Path = Field(Path("celery-events.db"), description="the file; made if it is not there")
    """Absolute once it is read, so that what is shown says where it is."""
    retention: OptionalSeconds = Field(None, gt=0, description="never, or 30d: older events are removed")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.absolute()


class SqliteSink(BlockingSink):
    """Events into the table `events` of one file."""

    name = "sqlite"
    Settings = SqliteSettings

    def __init__(self, settings: SqliteSettings) -> None:
        super().__init__()
        self._path = settings.path
        self._retention = settings.retention
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._retention_due = 0.0

    def open(self) -> None:
        """Open the file and see to its schema."""
        self._disconnect()
        try:
            connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None)
        except sqlite3.Error as exc:
            raise self._unavailable(exc) from exc
        try:
            self._prepare(connection)
            self._identity = self._identity_on_disk()
        except sqlite3.Error as exc:
            connection.close()
            raise self._unavailable(exc) from exc
        self._connection = connection
        self._sync_directory()

    def store(self, events: Sequence[Event]) -> None:
        """All of them in one transaction."""
        now = time.time_ns() // 1000
        rows = [
            (
                event.id,
                event.type,
                event.source,
                event.subject,
                event.key,
                event.time,
                event.data,
                event.content_type,
                now,
            )
            for event in events
        ]
        connection = self._current()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, rows)
            connection.execute("COMMIT")
        except (sqlite3.DataError, OverflowError) as exc:
            self._roll_back(connection)
            raise EventRefused(f"SQLite cannot hold it: {exc}") from exc
        except sqlite3.Error as exc:
            self._roll_back(connection)
            raise self._unavailable(exc) from exc
        # Once more after the commit: had the file been removed meanwhile, the rows went with it.
        self._current()
        self._remove_old(connection)

    def available(self) -> None:
        """Write: the schema's version, which is always the same. A full disk is found out by a commit only."""
        connection = self._current()
        try:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sqlite3.Error as exc:
            raise self._unavailable(exc) from exc

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._disconnect()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Another process that does the same at the same moment is waited for by the transaction, not by the pragma.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise SinkUnavailable(f"{self._path}: no write-ahead log is possible there (a network file system?)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        # Another program's table of that name is found out here, not at the first event.
        connection.execute(INSERT.replace("VALUES", "SELECT").replace("(?, ?, ?, ?, ?, ?, ?, ?, ?)", _NOTHING))
        connection.execute("COMMIT")

    def _sync_directory(self) -> None:
        """The file's name has to survive a power cut too; SQLite syncs the file alone."""
        try:
            directory = os.open(self._path.absolute().parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as exc:
            self._disconnect()
            raise SinkUnavailable(f"{self._path}: cannot sync its directory: {exc.strerror}") from exc

    def _current(self) -> sqlite3.Connection:
        """The connection, if it still leads to the file of that name."""
        if self._connection is None:
            self.open()
        elif self._identity_on_disk() != self._identity:
            self._disconnect()
            raise SinkUnavailable(f"{self._path}: the file was removed or replaced; opening it anew")
        assert self._connection is not None
        return self._connection

    def location(self) -> str:
        """Return the file's path, and its device and inode: two machines may have a file of one name."""
        return f"sqlite {self._path} {self._identity_on_disk()}"

    def _identity_on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once a batch, and pathlib's is slower
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _remove_old(self, connection: sqlite3.Connection) -> None:
        now = time.monotonic()
        if self._retention is None or now < self._retention_due:
            return
        before = time.time_ns() // 1000 - round(self._retention * 1e6)
        try:
            removed = connection.execute(EXPIRE, (before, RETENTION_CHUNK)).rowcount
        except sqlite3.Error:
            removed = 0  # it is no failure of what was stored; the next time will do
        # A full chunk: there is more, take it with the next batch.
        self._retention_due = now if removed == RETENTION_CHUNK else now + RETENTION_INTERVAL

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection, self._identity = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass

    def _unavailable(self, exc: sqlite3.Error) -> SinkUnavailable:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._disconnect()  # whatever it was, begin again with a fresh look at the file
        advice = _ADVICE.get(code, "look at the file and its directory")
        return SinkUnavailable(f"BRIDGE_SQLITE_PATH={self._path}: {exc}: {advice}")


_NOTHING = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL WHERE 0"
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds its write lock",
    sqlite3.SQLITE_LOCKED: "another process holds its write lock",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "make room on the disk, or look at its health",
    sqlite3.SQLITE_CANTOPEN: "its directory has to be there and writable by this user",
    sqlite3.SQLITE_READONLY: "the file and its directory have to be writable by this user",
    sqlite3.SQLITE_NOTADB: "move the file away, or choose another path",
    sqlite3.SQLITE_CORRUPT: "move the file away to repair it, or choose another path",
    sqlite3.SQLITE_ERROR: "a table `events` of another program? choose another path",
}
