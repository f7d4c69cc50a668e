"""Reads the table `events` back, in the order of `seq`. A group has one active reader at a time, by a lease."""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

from celery_event_bridge.contract import Batch, Reading, Record, SinkUnavailable, StreamMissing, StreamRefused, notices
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.sqlite import anew, table, trial
from celery_event_sinks.sqlite.address import ByPath
from celery_event_sinks.sqlite.anew import Read
from celery_event_sinks.sqlite.earlier import earlier
from celery_event_sinks.sqlite.errors import unreadable
from celery_event_sinks.sqlite.file import EventFile, Left
from celery_event_sinks.sqlite.lease import Lease
from celery_event_sinks.sqlite.overtaken import missed_by_groups, removed
from celery_event_sinks.sqlite.positions import beginning
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.stored import lenient, record
from celery_event_sinks.sqlite.volume import no_file, unfit
from celery_event_sinks.sqlite.whereabouts import Change

READER = "celery_event_bridge.reader"
POLL = 0.05
"""Seconds between two looks for new rows, or for a lease that has run out."""
LAST = 2**63 - 1
ELSEWHERE = (-1, -1)
"""Device and inode of no file: of one whose content was another's afterwards."""
ROWS = "SELECT {columns} FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"


class SqliteReader(ByPath):
    """A file's events, for a group or for oneself."""

    def __init__(self, settings: SqliteSettings, reading: Reading) -> None:
        self._path = settings.path
        self._reading = reading
        self._lease = None if reading.group is None else Lease(reading.group, reading.lease)
        self._file = EventFile(settings.path, "ro" if reading.group is None else "rw", READER)
        self._identity: tuple[int, int] | None = None
        self._partition = ""
        """This hold of the lease, or this file; empty while there is neither."""
        self._revoked: list[Hashable] = []
        self._read = Read()
        """The last event that was fetched."""
        self._began = 0
        """Number of the row before the first one that is read without a group; 0 where all of the file is."""
        self._since = reading.since
        """Position to begin at where there is none; of a file that was opened later all is new."""
        self._end = LAST
        self._ended = False
        self._skipped = 0
        """Events that were gone before they were read, and that no batch has told of."""
        self._schema = -1
        """Version of the schema in which the table was known to number its events."""
        self._select = ""
        """Statement that reads the columns of that version."""

    def open(self) -> None:
        """Open the file, and find out where to begin."""
        self._identity_on_disk()
        if text := unfit(self._path):
            notices.tell("stream-advice", f"SQLite file {self._path}: {text}", subject=str(self._path), logger=READER)
        try:
            connection = self._file.open(self._prepare)
            if self._file.place != self._identity:
                self._begin(connection)
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        self._identity, self._schema = self._file.place, -1

    def fetch(self, limit: int, timeout: float) -> Batch:
        """Return the next rows, once the lease is held."""
        deadline = Deadline(timeout)
        while True:
            connection = self._current()
            try:
                rows = self._rows(connection, limit) if self._may_read(connection) else []
            except (sqlite3.Error, OSError) as exc:
                raise self._unavailable(exc) from exc
            if rows or self._ended or deadline.passed:
                break
            time.sleep(min(POLL, timeout))
        revoked, self._revoked = self._revoked, []
        skipped, self._skipped = self._skipped, 0
        return Batch([record(self._partition, row) for row in rows], revoked=revoked, skipped=skipped)

    def ended(self) -> bool:
        """Return whether all is fetched that was there when it was opened."""
        return self._ended

    def renew_lease(self) -> bool:
        """Renew the lease; False if another reader has it."""
        return self._lease is None or self._renewed(self._lease, 0)

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """Move the group's position, if the lease is held still."""
        if self._lease is None or not self._partition or self._partition not in positions:
            return False
        held = self._renewed(self._lease, positions[self._partition][-1])
        return held and len(positions) == 1

    def before(self, types: Collection[str]) -> Iterator[Sequence[Record]]:
        """Look at the rows before the first one, some thousand at a time."""
        connection = self._current()
        try:
            for rows in earlier(connection, self._began, types):
                yield [record(self._partition, row) for row in rows]
                if self._file.connection is not connection:
                    return  # another file by now
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc

    def missed_by_groups(self) -> Mapping[str, int]:
        """Count, at least, by what the file knows of removals."""
        connection = self._current()
        try:
            self._see_to_numbers(connection)
            return missed_by_groups(connection, self._reading.since)
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc

    def close(self) -> None:
        """Hand the lease on."""
        if self._file.connection is not None and self._lease is not None:
            try:
                self._file.check()
                self._lease.release(self._file.connection)
            except (sqlite3.Error, OSError, SinkUnavailable, Left):
                pass  # it runs out by itself
        self._file.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._lease is not None:
            self._lease.prepare(connection)
        else:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin in a file that was not read before, or is another one of that name with an order of its own."""
        if self._identity is not None:
            self._miss_the_end()
            self._since = "earliest"
        self._revoke()
        if self._reading.ends:
            (self._end,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        if self._lease is None:
            newest = self._reading.newest if self._identity is None else 0
            self._read = Read(beginning(connection, self._since, newest))
            self._began = self._read.seq
            self._partition = uuid.uuid4().hex
        else:
            self._lease.leave_file()

    def _may_read(self, connection: sqlite3.Connection) -> bool:
        lease = self._lease
        if lease is None:
            return True
        if self._partition:
            return not lease.due() or self._renewed(lease, 0)
        taken = lease.take(connection, lambda: beginning(connection, self._since))
        if taken is None:
            return False
        self._skipped, lease.skipped = self._skipped + lease.skipped, 0
        self._read, before = taken
        self._partition = lease.owner
        if before is not None:
            self._tell_anew(before.seq, anew.counter(connection))
        return True

    def _renewed(self, lease: Lease, position: int) -> bool:
        connection = self._current()
        try:
            held = bool(self._partition) and (
                lease.commit(connection, position, self._read) if position else lease.renew(connection)
            )
            self._file.mark()
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        if not lease.owner:
            self._revoke()
        return held

    def _revoke(self) -> None:
        if self._partition:
            self._revoked.append(self._partition)
        self._partition = ""

    def _rows(self, connection: sqlite3.Connection, limit: int) -> list[Any]:
        connection.execute("BEGIN")  # so that what somebody does meanwhile is in all of the answers or in none
        try:
            self._see_to_numbers(connection)
            last = anew.begun_anew(connection, self._read)
            found = ([], self._read, 0) if last is not None else self._of_this_table(connection, limit)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if last is not None:
            self._begin_anew(connection, last)
            return []
        # Only now: an error at the end, too, is one of the whole fetch.
        rows, self._read, gone = found
        self._skipped += gone
        self._ended = self._ended or (self._reading.ends and len(rows) < limit)
        return rows

    def _of_this_table(self, connection: sqlite3.Connection, limit: int) -> tuple[list[Any], Read, int]:
        """Return the next rows, how far is read with them, and how many were gone, at least."""
        rows, read, skipped = self._selected(connection, limit), self._read, 0
        until = rows[-1][0] if rows else read.seq
        if rows and rows[0][0] > read.seq + 1:
            skipped = removed(connection).after(read.seq, rows[0][0])
        if self._reading.ends and not self._ended and len(rows) < limit and until < self._end:
            gone = removed(connection)
            skipped += max(1, gone.after(until, min(gone.last, self._end) + 1))
        if rows or not read.event:
            read = anew.read_until(connection, until)
        return rows, read, skipped

    def _see_to_numbers(self, connection: sqlite3.Connection) -> None:
        """Raise SinkUnavailable where events may be in the table that have no number, which no reader would see."""
        if (version := trial.version(connection)) == self._schema:
            return
        if not trial.is_numbered(connection):
            raise SinkUnavailable(f"SQLite file {self._path}: {trial.NO_KEY}")
        self._schema, self._select = version, ROWS.format(columns=table.read(connection))

    def _begin_anew(self, connection: sqlite3.Connection, last: int) -> None:
        """Begin in a table of the same file that is another one than was read."""
        self._tell_anew(self._read.seq, last)
        self._miss_the_end()
        if self._reading.ends:
            self._end = last
        self._revoke()
        self._read, self._began = Read(), 0
        if self._lease is None:
            self._partition = uuid.uuid4().hex
        elif self._lease.begin_anew(connection):
            self._partition = self._lease.owner

    def _miss_the_end(self) -> None:
        """Take note that nothing more is read of a file, or a table, that is another one now."""
        if self._reading.ends and not self._ended and self._partition and self._read.seq < self._end:
            self._skipped += 1

    def _tell_anew(self, position: int, last: int | None) -> None:
        anew.tell(self._path, self._reading.group, position, last or 0)

    def _selected(self, connection: sqlite3.Connection, limit: int) -> list[Any]:
        asked = (self._read.seq, self._end, limit)
        try:
            rows = connection.execute(self._select, asked).fetchall()
        except sqlite3.OperationalError as exc:
            if "decode" not in str(exc):
                raise
            # Text that is no UTF-8, in a row that no bridge has written: bytes, which are told from text below.
            connection.text_factory = lenient
            rows = connection.execute(self._select, asked).fetchall()
            connection.text_factory = str
        return rows

    def _current(self) -> sqlite3.Connection:
        """Return the connection, if it still leads to the file of that name."""
        try:
            if self._file.connection is not None:
                self._file.check()
        except Left as exc:
            if exc.change is Change.CONTENT:
                self._identity = ELSEWHERE
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        if self._file.connection is None:
            self.open()
        assert self._file.connection is not None
        return self._file.connection

    def _identity_on_disk(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once a fetch, and pathlib's is slower
        except FileNotFoundError as exc:
            raise StreamMissing(str(self._unavailable(exc))) from exc
        except OSError as exc:
            raise self._unavailable(exc) from exc
        if text := no_file(found.st_mode):
            raise StreamRefused(f"SQLite file {self._path}: {text}")
        return found.st_dev, found.st_ino

    def _unavailable(self, exc: sqlite3.Error | OSError) -> SinkUnavailable:
        self._file.close()
        return unreadable(self._path, exc, writes=self._lease is not None)
