"""Errors of SQLite and of the file system, in a line: what happened, and what to do."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from celery_event_bridge.contract import SinkUnavailable, StreamRefused
from celery_event_sinks.sqlite import anew
from celery_event_sinks.sqlite.rights import kept_out

LAST_NUMBER = 2**63 - 1
NO_NUMBER = (
    "the table `events` has no number left, as somebody has set its counter: "
    "UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM events) WHERE name = 'events', or move the file away"
)
ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds its write lock",
    sqlite3.SQLITE_LOCKED: "another process holds its write lock",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_CONSTRAINT: "somebody has put a rule on the table `events` that keeps events out; DROP it",
    sqlite3.SQLITE_IOERR: "make room on the disk, or look at its health",
    sqlite3.SQLITE_CANTOPEN: "its directory has to be there and writable by this user",
    sqlite3.SQLITE_READONLY: "the file and its directory have to be writable by this user",
    sqlite3.SQLITE_NOTADB: "move the file away, or choose another path",
    sqlite3.SQLITE_CORRUPT: "move the file away to repair it, or choose another path",
    sqlite3.SQLITE_ERROR: "a table `events` of another program? choose another path",
}
READERS_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process holds its write lock",
    sqlite3.SQLITE_LOCKED: "another process holds its write lock",
    sqlite3.SQLITE_READONLY: "a group's position is kept in it, so it has to be writable by this user",
    sqlite3.SQLITE_CANTOPEN: "it and its directory have to be accessible by this user",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file",
    sqlite3.SQLITE_FULL: "make room on the disk",
}


def unreadable(path: Path, exc: sqlite3.Error | OSError, *, writes: bool) -> SinkUnavailable:
    """Return what a reader raises for this error; `writes` for one that keeps a position."""
    text = f"SQLite file {path}: {exc.strerror if isinstance(exc, OSError) else exc}"
    if whose := kept_out(path, exc, writes=writes):
        return StreamRefused(f"{text}: {whose}")
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_ERROR and "no such column" in str(exc):
        return StreamRefused(f"{text}: its table `events` is another program's")
    refused = StreamRefused if code == sqlite3.SQLITE_NOTADB else SinkUnavailable
    return refused(f"{text}: {READERS_ADVICE.get(code, 'is it there, and of a bridge?')}")


def what_to_do(exc: sqlite3.Error | OSError, connection: sqlite3.Connection | None, path: Path) -> str:
    """Return the error of this file, and the way out of it."""
    if isinstance(exc, OSError):
        text, code = str(exc.strerror), 0
    else:
        text, code = str(exc), getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL and connection is not None and _is_used_up(connection):
        return NO_NUMBER  # of which SQLite says the same as of a full disk
    advice = kept_out(path, exc, writes=True) or ADVICE.get(code, "look at the file and its directory")
    return f"{text}: {advice}"


def _is_used_up(connection: sqlite3.Connection) -> bool:
    with suppress(sqlite3.Error):
        return (anew.counter(connection) or 0) >= LAST_NUMBER - 1
    return False
