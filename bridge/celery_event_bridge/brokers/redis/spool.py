"""Spool: a file of each replica for what a sink's outage does not leave room for in memory.

It holds events by the number that the window gives them; a number that is missing is one that was dropped, as the file
was full. What is there stays until it is confirmed, so that whoever comes after a replica that was killed, on the same
machine, finds it: it adopts the files that nobody has locked. Of what several replicas have left, each event is taken
once, by its body; and what this one has heard by itself it does not take a second time.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from celery_event_bridge.brokers.envelope import opened
from celery_event_bridge.brokers.redis.spool_file import COUNT, SCHEMA, SpoolFile, remove
from celery_event_bridge.brokers.redis.spool_lock import locked
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.values import counted

log = logging.getLogger("celery_event_bridge")
BUFFER = 500
"""Events that are written at a time; fewer where the loop turns before."""
ROW = 100
"""Bytes that an event takes in the file beside its data, about."""
RETRY = 1.0
"""Seconds between two attempts to write a file that cannot be written."""
OVERLAP = 5.0
"""Seconds from our subscription on in which what another one has heard is taken as well, though we have heard it."""
_EMPTY = sqlite3.connect(":memory:", check_same_thread=False)
_EMPTY.executescript(SCHEMA)


class Spool:
    """File of this replica. Every method may raise BrokerUnavailable where the file cannot be used."""

    def __init__(self, folder: Path, queue: str, max_bytes: int) -> None:
        self._folder, self._queue, self._max_bytes = folder, queue, max_bytes
        self.file = SpoolFile(folder, queue)
        self._buffer: list[tuple[int, bytes, bytes | None, float | None, float]] = []
        self._bytes = 0
        self._retry_at = 0.0
        """Time before which it is not tried to write, by the monotonic clock."""
        self._handed = 0
        """Number of the last that was inherited and handed out."""

    # What this replica hears ---------------------------------------------------------------------------------------

    def add(self, number: int, payload: bytes) -> bool:
        """Add an event; False where there is no room, or the file cannot be written."""
        size = len(payload) + ROW
        if self._bytes + size > self._max_bytes or (len(self._buffer) >= BUFFER and not self.write()):
            return False
        self._bytes += size
        self._buffer.append((2 * number, _digest(payload), payload, None, time.time()))
        return True

    def write(self) -> bool:
        """Write what waits for it. False, with a notice, where it cannot be: it stays in memory. Never raises."""
        if not self._buffer:
            return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            self.flush()
        except BrokerUnavailable as exc:
            self._retry_at = time.monotonic() + RETRY
            notices.tell("waiting", f"{exc} Meanwhile what has no room in memory is dropped", subject="spool")
            return False
        notices.over("waiting", f"the spool file {self.file.path} is written again", subject="spool")
        return True

    def keep(self, number: int, payload: bytes, at: float) -> None:
        """Add an event that was heard at that time, since the epoch, whether or not there is room."""
        self._bytes += len(payload) + ROW
        self._buffer.append((2 * number, _digest(payload), payload, None, at))
        if len(self._buffer) >= BUFFER:
            self.flush()

    def add_hole(self, number: int, seconds: float) -> None:
        """Add a hole before the event of that number."""
        self._buffer.append((2 * number - 1, b"", None, seconds, time.time()))

    def flush(self) -> None:
        """Write what waits for it."""
        for _ in range(2):  # again, into another file, where that one was damaged
            if self._buffer:
                with self._writing() as database:
                    database.executemany("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)", self._buffer)
                    self._buffer = []

    def load(self, first: int, most_bytes: int) -> list[tuple[int, bytes | float]]:
        """Return events, and the seconds of holes, from that number on, with their numbers: about so many bytes."""
        self.write()
        found: list[tuple[int, bytes | float]] = []
        with self._reading() as database:
            rows = database.execute(
                "SELECT number, payload, seconds FROM heard WHERE number >= ? ORDER BY number", (2 * first - 1,)
            )
            for number, payload, seconds in rows:
                found.append(((number + 1) // 2, payload if payload is not None else seconds))
                most_bytes -= len(payload or b"")
                if most_bytes < 0:
                    break
            rows.close()
        return found or [
            ((number + 1) // 2, payload if payload is not None else seconds or 0.0)
            for number, _, payload, seconds, _ in self._buffer
            if number >= 2 * first - 1
        ]

    def forget(self, before: int) -> int:
        """Remove what lies before that number. Returns how many holes were among it."""
        if not self.write():
            return self._forget_unwritten(2 * before - 1)
        if self.file.database is None:
            return 0
        holes = size = events = 0
        with self._writing() as database:
            until = (2 * before - 1,)
            gone = (
                "SELECT count(seconds), coalesce(sum(length(payload)), 0), count(payload) FROM heard WHERE number < ?"
            )
            holes, size, events = database.execute(gone, until).fetchone()
            database.execute("DELETE FROM heard WHERE number < ?", until)
        self._bytes = max(0, self._bytes - size - ROW * events)
        return int(holes)

    def _forget_unwritten(self, before: int) -> int:
        gone = [row for row in self._buffer if row[0] < before]
        self._buffer = self._buffer[len(gone) :]
        self._bytes = max(0, self._bytes - sum(len(row[2] or b"") + ROW for row in gone if row[3] is None))
        return sum(row[3] is not None for row in gone)

    # What others have left -----------------------------------------------------------------------------------------

    def adopt(self, whole_since: float) -> None:
        """Take over the files that nobody has locked; of them, what was heard after we began only where it is older.

        `whole_since`: time since the epoch from which on this replica has heard everything by itself.
        """
        for file in sorted(self._folder.glob(f"{self._queue}-*.spool")):
            if file == self.file.path:
                continue
            with locked(file) as free:
                if free:
                    self._take_over(file, whole_since + OVERLAP)

    def _take_over(self, file: Path, until: float) -> None:
        with self._writing() as database:
            before = database.total_changes
            try:
                # Not while a bridge has it open, whatever has become of its lock.
                with closing(sqlite3.connect(file, timeout=0.0)) as other:
                    other.execute("PRAGMA locking_mode=EXCLUSIVE")
                    for table, more in (("inherited", ""), ("heard", "WHERE payload IS NOT NULL AND at < ?")):
                        rows = other.execute(
                            f"SELECT digest, payload FROM {table} {more} ORDER BY number",  # noqa: S608 - names of ours
                            (until,) if more else (),
                        )
                        database.executemany("INSERT OR IGNORE INTO inherited (digest, payload) VALUES (?, ?)", rows)
            except sqlite3.Error as exc:
                if exc.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    return
                text = f"spool file {file} cannot be read, and is left alone: {exc}"
                notices.tell("waiting", text, subject=str(file))
                return
            taken = database.total_changes - before
        remove(file)
        log.info("%s of another bridge's spool file are forwarded by this one", counted(taken, "event"))

    def leave(self, payloads: Iterable[bytes]) -> None:
        """Add events that nobody else may have, for who comes after this one."""
        with self._writing() as database:
            rows = [(_digest(payload), payload) for payload in payloads]
            database.executemany("INSERT OR IGNORE INTO inherited (digest, payload) VALUES (?, ?)", rows)

    def inherited(self, most: int) -> list[tuple[int, bytes]]:
        """Return events that others have left, oldest first, each once until `put_back`, with their numbers."""
        rows: list[tuple[int, bytes]] = []
        with self._reading() as database:
            rows = database.execute(
                "SELECT number, payload FROM inherited WHERE number > ? ORDER BY number LIMIT ?", (self._handed, most)
            ).fetchall()
        self._handed = rows[-1][0] if rows else self._handed
        return rows

    def put_back(self) -> None:
        """Hand out again what was inherited and is not confirmed."""
        self._handed = 0

    def confirmed(self, numbers: Sequence[int]) -> None:
        """Remove what was inherited and is stored now."""
        with self._writing() as database:
            database.executemany("DELETE FROM inherited WHERE number = ?", [(number,) for number in numbers])

    # The file ------------------------------------------------------------------------------------------------------

    def see_to_file(self) -> None:
        """Look whether it is there still; what is in one that is not goes into another one. Never raises."""
        file, before = self.file, self.file.path
        try:
            if not file.is_another():
                file.lock_again()
                return
            count = file.carry_over()
        except (sqlite3.Error, OSError) as exc:
            text = f"{self._unusable(exc, 'made anew')} What is in the deleted one is lost if this bridge ends"
            notices.tell("waiting", text, subject="spool")
            return
        text = f"spool file {before} was deleted, moved or replaced under this bridge"
        notices.tell(
            "stream-replaced", f"{text}: {counted(count, 'event')} of it are in {file.path} now", subject="spool"
        )

    def close(self) -> None:
        """Close the file, and remove it where nothing is in it. Never raises."""
        left = 1  # perhaps
        try:
            self.flush()
            with self._reading() as database:
                (left,) = database.execute(COUNT).fetchone()
        except BrokerUnavailable as exc:
            log.warning("%s", exc)
        with suppress(OSError):
            self.file.close(keep=bool(left))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write, in one transaction; nothing is written where the file is found damaged."""
        try:
            with self.file.opened() as database:
                yield database
        except (sqlite3.Error, OSError) as exc:
            if not self._abandoned(exc):
                raise self._unusable(exc, "written") from exc

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read from the file; from an empty one where there is none, or once it is found damaged."""
        try:
            yield self.file.database or _EMPTY
        except sqlite3.Error as exc:
            if not self._abandoned(exc):
                raise self._unusable(exc, "read") from exc

    def _unusable(self, exc: Exception, how: str) -> BrokerUnavailable:
        return BrokerUnavailable(
            f"the spool file {self.file.path} cannot be {how}: {exc}: is BRIDGE_SPOOL a directory of this user's, with "
            "room in it?"
        )

    def _abandoned(self, exc: Exception) -> bool:
        """Put a damaged file aside, and begin another one: what was in it is counted by whoever comes to it."""
        if type(exc) is not sqlite3.DatabaseError or self.file.database is None:
            return False
        aside = self.file.put_aside()
        text = f"spool file {aside} is damaged, and what is in it is lost: {exc}"
        notices.tell("dropped", text, subject=str(aside), count=0)
        self._bytes = self._handed = 0
        return True


def _digest(payload: bytes) -> bytes:
    # Of the body: what was put back is sealed anew, and differs around it.
    return hashlib.blake2b(opened(payload, None, 0).body, digest_size=16).digest()
