"""Content of a file without its log: still what was written through SQLite, or something that was copied over it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.deadline import Deadline

TABLE = """
CREATE TABLE IF NOT EXISTS bridge_file (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    mark TEXT NOT NULL,
    clock INTEGER
)
"""
QUICK_CHECK = 5.0
"""Seconds for SQLite's own check where the marks leave a doubt."""
OF_THE_MOMENT = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM),
    )
)
"""Errors that say nothing of the content: of a lock, of the disk, of a right."""
TRIES, PAUSE = 20, 0.02
"""Looks at a file until nobody writes to it meanwhile, and seconds between two."""


class Mark(NamedTuple):
    """Mark that a log, or the file, carries of itself."""

    salt: str = ""
    before: tuple[str, ...] = ()
    """Contents that the file may have had when the log began."""
    cookie: int = 0
    """The version of the schema at that time."""
    seq: int = 0
    """The highest number of an event that was in the file at that time: an older copy of it has a lower one."""

    @classmethod
    def parse(cls, text: object) -> Mark:
        """Read it; an empty one where it is none."""
        parts = text.removesuffix(";").split(" ") if isinstance(text, str) else []
        if len(parts) != 5 or parts[0] != "bridge-log" or not all(part.isdecimal() for part in parts[3:]):
            return cls()
        before = tuple("" if salt == "-" else salt for salt in parts[2].split(","))
        return cls(parts[1], before, int(parts[3]), int(parts[4]))

    def __str__(self) -> str:
        before = ",".join(salt or "-" for salt in self.before)
        return f"bridge-log {self.salt} {before} {self.cookie} {self.seq};"

    def allows(self, salt: str) -> bool:
        """Return whether a file that holds this salt is the one that the log belongs to."""
        return salt == self.salt or salt in self.before


class Content(NamedTuple):
    """Content of a file without its log."""

    salt: str
    place: tuple[int, int]
    """Device and inode of the file that a bridge has last opened it as."""
    seq: int
    """The highest number ever given to an event."""
    cookie: int


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table with its one row. Raises sqlite3.Error."""
    connection.execute(TABLE)
    connection.execute("INSERT INTO bridge_file (one, device, inode, mark) VALUES (1, 0, 0, '') ON CONFLICT DO NOTHING")


def content(path: Path) -> Content | None:
    """Return what the file holds without its log; None where it is torn by a checkpoint, damaged, or no database."""
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)) as connection:
            (cookie,) = connection.execute("PRAGMA schema_version").fetchone()
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = seq = None
            if "bridge_file" in tables:
                row = connection.execute("SELECT device, inode, mark FROM bridge_file").fetchone()
            if "sqlite_sequence" in tables:
                seq = connection.execute(
                    "SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'events'"
                ).fetchone()
    except sqlite3.Error:
        return None
    device, inode, mark = row or (0, 0, "")
    return Content(Mark.parse(mark).salt, (device, inode), int(seq[0] or 0) if seq else 0, cookie)


def sound(path: Path, more: str = "") -> bool | None:
    """Return whether SQLite's quick check finds the content sound; None where it takes too long, or cannot be made now.

    By a connection of its own, which has nothing in memory and can change nothing.
    """
    deadline = Deadline(QUICK_CHECK)
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro{more}", uri=True)) as connection:
            connection.set_progress_handler(lambda: deadline.passed, 10_000)
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as exc:
        return None if deadline.passed or getattr(exc, "sqlite_errorcode", 0) & 0xFF in OF_THE_MOMENT else False


class Examiner:
    """Looks at a file's content whenever it was written to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._examined = (0, 0)
        """Modification time and size of the file when its content was looked at."""
        self._highest = (0, 0)
        """The highest number of an event, in the file without its log and with it, at that time."""
        self._cookie = -1

    @property
    def written(self) -> int:
        """The highest number of an event in the file without its log, as last seen."""
        return self._highest[0]

    def good(self, connection: sqlite3.Connection, found: os.stat_result) -> bool:
        """Return whether the content is that of the connection's file. Raises SinkUnavailable where it is damaged."""
        state = found.st_mtime_ns, found.st_size
        return state == self._examined or self._examine(connection, state)

    def _examine(self, connection: sqlite3.Connection, state: tuple[int, int]) -> bool:
        for _ in range(TRIES):
            before = self._allowed(connection)
            holds = content(self._path)
            after = self._allowed(connection)
            found = os.stat(self._path)  # noqa: PTH116
            if holds is not None and state == (found.st_mtime_ns, found.st_size):
                break
            state = found.st_mtime_ns, found.st_size
            time.sleep(PAUSE / 4)
        else:
            if holds is None and sound(self._path) is False:
                raise SinkUnavailable(
                    f"SQLite file {self._path}: it is damaged, or somebody writes over it; move it away"
                )
            return True  # another process writes its log into it: the next look will do
        (mark, cookie, seq), (mark_after, cookie_after, seq_after) = before, after
        good = not mark.salt or mark.allows(holds.salt) or mark_after.allows(holds.salt)
        good = good and bool(state[1])  # the first page is in the file from the beginning
        if state[1] < self._examined[1]:
            good = good and sound(self._path) is not False  # a VACUUM makes it smaller
        # What is known to be in it, as whoever wrote the log into it has marked: so all of us judge alike.
        good = good and not holds.seq < mark_after.seq <= seq_after
        if holds.seq < self._highest[0]:
            # Numbers never go back, but where somebody has removed the table, or their counter, through SQLite.
            good = good and seq < self._highest[1] and sound(self._path) is not False
        if self._cookie not in (-1, holds.cookie) and holds.cookie not in (cookie, cookie_after):
            good = good and sound(self._path) is not False
        if good:
            self._examined, self._highest, self._cookie = state, (holds.seq, seq_after), holds.cookie
        return good

    @staticmethod
    def _allowed(connection: sqlite3.Connection) -> tuple[Mark, int, int]:
        (cookie,) = connection.execute("PRAGMA schema_version").fetchone()
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        mark = seq = None
        if "bridge_file" in tables:
            mark = connection.execute("SELECT mark FROM bridge_file").fetchone()
        if "sqlite_sequence" in tables:
            seq = connection.execute(
                "SELECT max(CAST(seq AS INTEGER)) FROM sqlite_sequence WHERE name = 'events'"
            ).fetchone()
        return Mark.parse(mark[0] if mark else None), int(cookie), int(seq[0] or 0) if seq else 0
