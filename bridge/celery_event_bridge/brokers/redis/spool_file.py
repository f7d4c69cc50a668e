"""File of a spool: SQLite, with a lock beside it, looked at again now and then as somebody may delete or replace it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from celery_event_bridge.brokers.redis.spool_lock import lock_of

SCHEMA = """
CREATE TABLE IF NOT EXISTS heard (number INTEGER PRIMARY KEY, digest BLOB, payload BLOB, seconds REAL, at REAL);
CREATE TABLE IF NOT EXISTS inherited (number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE, payload BLOB);
"""
"""Events are rows of twice their number; without a payload it is a hole of so many seconds before one."""
COUNT = "SELECT (SELECT count(payload) FROM heard) + (SELECT count(*) FROM inherited)"


class _Open(msgspec.Struct):
    """A file that was made."""

    database: sqlite3.Connection
    lock: IO[str]
    identity: tuple[int, int]
    """Its device and number."""


class SpoolFile:
    """File of one replica, made when it is first used. Methods raise sqlite3.Error and OSError."""

    def __init__(self, folder: Path, queue: str) -> None:
        self._folder, self._queue = folder, queue
        self.path = self._another()
        self._open: _Open | None = None

    @property
    def database(self) -> sqlite3.Connection | None:
        """The connection to it; None where none is open."""
        return self._open.database if self._open is not None else None

    def opened(self) -> sqlite3.Connection:
        """Return the connection, to a file that is made where there is none."""
        if self._open is None:
            self._open = self._made(self.path)
        return self._open.database

    def is_another(self) -> bool:
        """Return whether it is open, and no longer what its path leads to."""
        return self._open is not None and _identity(self.path) != self._open.identity

    def carry_over(self) -> int:
        """Make another one with all that is in this one, which is readable while it is open. Returns how many events.

        Then nothing is lost when this one is closed; where it fails, all is as before.
        """
        assert self._open is not None, "looked at"
        path = self._another()
        made = self._made(path)
        try:
            self._open.database.backup(made.database)
            count = int(made.database.execute(COUNT).fetchone()[0])
        except sqlite3.Error:
            _release(made)
            remove(path)
            raise
        _release(self._open)
        self._open, self.path = made, path
        return count

    def lock_again(self) -> None:
        """Lock it where the file of its lock is gone: what is on disk is what others look at."""
        if self._open is None or _identity(lock_of(self.path)) == _identity_of(self._open.lock):
            return
        lock = lock_of(self.path).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another one looks at it just now, and leaves it alone
            lock.close()
            return
        self._open.lock.close()
        self._open.lock = lock

    def put_aside(self) -> Path:
        """Give up a damaged file, and begin another one with its next use. Returns its name from now on."""
        aside = self.path.with_suffix(".damaged")
        if self._open is not None:
            self._open.database.close()
        with suppress(OSError):
            self.path.rename(aside)
        remove(self.path)
        if self._open is not None:
            self._open.lock.close()
        self._open, self.path = None, self._another()
        return aside

    def close(self, *, keep: bool) -> None:
        """Close it, and remove it but where it is to be kept."""
        if self._open is None:
            return
        self._open.database.close()
        if not keep:
            remove(self.path)
        self._open.lock.close()
        self._open = None

    def release(self) -> None:
        """Let go of it as the kernel does for a process that is killed."""
        if self._open is not None:
            _release(self._open)
        self._open = None

    def _another(self) -> Path:
        return self._folder / f"{self._queue}-{uuid.uuid4().hex[:12]}.spool"

    def _made(self, path: Path) -> _Open:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_of(path).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            number = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            identity = _identity_of(number)
            os.close(number)
            database = sqlite3.connect(path, isolation_level="IMMEDIATE")
        except BaseException:
            lock.close()
            raise
        made = _Open(database, lock, identity)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(SCHEMA)
        except BaseException:
            _release(made)
            raise
        return made


def remove(file: Path) -> None:
    """Remove a spool file, with what is beside it."""
    for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm"), lock_of(file)):
        each.unlink(missing_ok=True)


def _release(file: _Open) -> None:
    file.database.close()
    file.lock.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identity_of(file: IO[str] | int) -> tuple[int, int]:
    found = os.fstat(file if isinstance(file, int) else file.fileno())
    return found.st_dev, found.st_ino
