"""SQLite as it is, on a file in a temporary folder, but for what befalls its calls: waits, locks, and errors.

Connections of all replicas are in one process here. SQLite's own locks between them work as between processes; only
its wait for a lock would stop the world, so that is done here, in the world's time. A connection of a process that is
killed is closed as the kernel does it: nothing of the log is written into the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import GreenletExit

from tests.simulation.scheduler import EPOCH, World

if TYPE_CHECKING:
    from tests.simulation.process import Process

connect, stat = sqlite3.connect, os.stat
BUSY = "PRAGMA busy_timeout = "
"""Sets how long a lock is waited for, in milliseconds: by the world's clock."""
WRITES = (
    "BEGIN IMMEDIATE",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "COMMIT",
    "PRAGMA user_version =",
    "PRAGMA journal",
)
ERRORS: Sequence[tuple[int, str, bool]] = (
    (sqlite3.SQLITE_BUSY, "database is locked", False),
    (sqlite3.SQLITE_FULL, "database or disk is full", True),
    (sqlite3.SQLITE_IOERR_READ, "disk I/O error", False),
    (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error", True),
    (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error", True),
    (sqlite3.SQLITE_IOERR_LOCK, "disk I/O error", False),
    (sqlite3.SQLITE_CANTOPEN, "unable to open database file", False),
    (sqlite3.SQLITE_PROTOCOL, "locking protocol", False),
    (sqlite3.SQLITE_READONLY, "attempt to write a readonly database", True),
)
"""Code, text, and whether only a call that writes gives it."""


def error(code: int, text: str) -> sqlite3.OperationalError:
    """Return an error as the module `sqlite3` raises it."""
    found = sqlite3.OperationalError(text)
    found.sqlite_errorcode = code
    return found


class Disk:
    """The folder, and what befalls the calls about it."""

    def __init__(self, world: World, path: Path, committed: Callable[[sqlite3.Connection], None]) -> None:
        self.world = world
        self.path = path
        self.committed = committed
        """Called after a commit with the connection that has made it."""
        self.connections: list[Connection] = []
        self.fail: dict[int, list[tuple[int, int, float]]] = {}
        """By process id: calls to let pass, the error of the next one, and a number that says when in it."""
        self.full = False
        """True while the disk has no room."""
        self.slow = 0.0
        """Seconds that each commit takes longer."""
        self.failures = 0
        self._times: dict[str, int] = {}
        self._ticks = 0

    def stat(self, path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        """Stand in for `os.stat`: files of the folder have modification times of the world's."""
        found = stat(path, *arguments, **options)
        if isinstance(path, int) or not os.fspath(path).startswith(str(self.path.parent)):
            return found
        name = os.fspath(path)
        if found.st_mtime_ns != self._times.get(name):
            self._ticks += 1
            at = int((EPOCH + self.world.now) * 1e9) + self._ticks
            os.utime(path, ns=(at, at))
            found = stat(path, *arguments, **options)
            self._times[name] = found.st_mtime_ns
        return found

    def connect(self, name: str, timeout: float = 5.0, **options: Any) -> Connection:
        """Stand in for `sqlite3.connect`."""
        process = self.world.current
        assert process is not None, "only a process connects"
        if process.dead:
            raise GreenletExit
        Connection.disk, Connection.process_to_be = self, process
        self.befall(process, "connect", None)
        connection: Connection = connect(name, timeout=0.0, factory=Connection, **options)
        connection.patience = timeout
        self.connections.append(connection)
        return connection

    def befall(self, process: Process, statement: str, connection: Connection | None) -> Callable[[], None]:
        """Let something befall a call; returns what is to be done after it."""
        writes = statement.lstrip().startswith(WRITES)
        if self.full and writes and statement != "BEGIN IMMEDIATE":
            raise error(sqlite3.SQLITE_FULL, "database or disk is full")
        waiting = self.fail.get(process.number)
        if not waiting:
            return _nothing
        passing, number, when = waiting[0]
        code, text, only_writes = ERRORS[number]
        if passing or (only_writes and not writes):
            waiting[0] = max(0, passing - 1), number, when
            return _nothing
        waiting.pop(0)
        self.failures += 1
        self.world.say(process.name, "fails in", " ".join(statement.split()[:3]), text)
        if statement == "COMMIT" and when > 0.7:
            return lambda: _raise(error(code, text))
        if connection is not None and when < 0.3 and sqlite3.Connection.in_transaction.__get__(connection):
            connection.raw("ROLLBACK")  # as SQLite does by itself after some errors
        raise error(code, text)

    def close_all_of(self, process: Process | None = None) -> None:
        """Close what a process that is gone has left, as the kernel does."""
        left = [one for one in self.connections if process is None or one.process is process]
        if not left:
            return
        anchor = None
        if self.path.exists():
            # Whoever is the last to close writes the log into the file, unless that one may only read.
            anchor = connect(f"file:{self.path}?mode=ro", uri=True)
            try:
                anchor.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            except sqlite3.Error:
                pass
        for one in left:
            one.end()
        if anchor is not None:
            anchor.close()


class Connection(sqlite3.Connection):
    """A connection of a process of the world."""

    disk: ClassVar[Disk]
    process_to_be: ClassVar[Process]
    patience = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.process = self.process_to_be
        self.own = self.disk

    def raw(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute without anything befalling it."""
        return super().execute(statement, parameters)

    def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:  # type: ignore[override]
        if statement.startswith(BUSY):
            self.patience = int(statement.removeprefix(BUSY)) / 1000
            return self.raw("SELECT 1")
        return self._do(statement, lambda: super(Connection, self).execute(statement, parameters))

    def executemany(self, statement: str, rows: Iterable[Any]) -> sqlite3.Cursor:  # type: ignore[override]
        kept = [*rows]
        return self._do(statement, lambda: super(Connection, self).executemany(statement, kept))

    def close(self) -> None:
        if not self.process.dead:
            self.end()

    def end(self) -> None:
        """Close it, whoever does."""
        if self in self.own.connections:
            self.own.connections.remove(self)
        super().close()

    def _do(self, statement: str, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        process, world = self.process, self.own.world
        if process.dead:
            raise GreenletExit
        if statement == "COMMIT":
            _wait(process, self.own.slow + 0.0005 + 0.004 * world.random.random())
        elif world.random.random() < 0.05:
            _wait(process, 0.002 * world.random.random())
        after = self.own.befall(process, statement, self)
        found = self._patiently(call)
        if statement == "COMMIT":
            self.own.committed(self)
        after()
        return found

    def _patiently(self, call: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        """Wait for a lock as `sqlite3_busy_timeout` does."""
        world = self.own.world
        end = world.now + self.patience
        while True:
            try:
                return call()
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or world.now >= end:
                    raise
            _wait(self.process, min(0.02, max(0.0001, end - world.now)))


def _wait(process: Process, seconds: float) -> None:
    """Wait so long, whoever wakes the process."""
    end = process.world.now + seconds
    while process.world.now < end:
        process.wait(end - process.world.now)


def _nothing() -> None:
    """Nothing is to be done."""


def _raise(exc: Exception) -> None:
    raise exc
