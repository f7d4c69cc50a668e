"""SQLite: an embedded file, in WAL mode and fully synced, that several processes may write and anyone may read.

A batch is one transaction and one fsync. The id is unique, so an event that is stored again changes nothing.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import astuple

from celery_event_bridge.contract import BlockingSink, Event, EventRefused, Finding, SinkUnavailable, Verdict, notices
from celery_event_bridge.contract.values import too_short
from celery_event_sinks.sqlite import content, table, trial, volume
from celery_event_sinks.sqlite.errors import ADVICE, what_to_do
from celery_event_sinks.sqlite.file import EventFile, Left
from celery_event_sinks.sqlite.leftovers import GRACE
from celery_event_sinks.sqlite.log import index_of, log_of
from celery_event_sinks.sqlite.retention import Retention
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.turn import Turn
from celery_event_sinks.sqlite.watch import TableWatch

WAL_PAGES = 4000
"""Pages in the write-ahead log before it is folded into the file: about 16 MB, SQLite's own default is 1,000.

The index over ids is written all over, and a page that is written more than once meanwhile is folded once: 10 to 20 %
less CPU an event in batches of 200, measured at 50,000 to 300,000 events in the file.
"""
LOG_TOO_LARGE = 32 * 2**20
"""Bytes of the log that cannot be folded, from which on it is told of."""


class SqliteSink(BlockingSink):
    """Events into the table `events` of one file."""

    name = "sqlite"
    batch_events = 8000
    """Each page of the index over ids is written once a batch: lists cost 0.86 of what they do in batches of 2,000."""
    Settings = SqliteSettings

    def __init__(self, settings: SqliteSettings, *, wal_pages: int = WAL_PAGES, grace: float = GRACE) -> None:
        super().__init__()
        self._wal_pages = wal_pages
        self._path = settings.path
        self._settings = settings
        self._file = EventFile(settings.path, "rwc", grace=grace)
        self._retention = Retention(settings.path, settings.retention) if settings.retention else None
        self._watch = TableWatch(settings.path)
        self._turn = Turn()
        self._tried = -1
        """Version of the schema that was tried, see `trial`."""
        self._last_id: str | None = None
        """The id of the event whose number is `EventFile.stored`, where that is known."""
        self._suspect = False
        """True if SQLite has found the file to be damaged; then it is checked before it counts as available."""

    @classmethod
    def in_order(cls, settings: SqliteSettings) -> SqliteSink:
        """Return one that keeps the order: each does, as a batch is one transaction."""
        return cls(settings)

    def open(self) -> None:
        """Open the file and see to its schema."""
        if text := volume.unfit(self._path):
            raise SinkUnavailable(f"BRIDGE_SQLITE_PATH={self._path}: {text}")
        try:
            connection = self._file.open(self._prepare)
            if self._suspect and content.sound(self._path) is False:
                self._file.abandon()
                raise SinkUnavailable(
                    f"BRIDGE_SQLITE_PATH={self._path}: the file is damaged: {ADVICE[sqlite3.SQLITE_CORRUPT]}"
                )
            self._try(connection)
            self._watch.look(connection, self._file.place, self._file.stored, self._last_id)
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        self._suspect = False
        self._sync_directory()

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Store one batch of what is queued, as soon as the lock can be had; none while another one has it."""
        connection = self._file.connection
        if self._queue and connection is not None:
            try:
                if not self._turn.begun(connection):
                    return ()
            except (sqlite3.Error, OSError) as exc:
                return (self.give_back((), str(self._unavailable(exc))),)
        return super().verdicts(timeout)

    def store(self, events: Sequence[Event]) -> None:
        """Store all of them in one transaction."""
        now = time.time_ns() // 1000
        rows = [(*astuple(event), now) for event in events]
        connection = self._file.connection or self._current()
        try:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            # With the write lock: whoever leaves the file for another one does so with it, or after this.
            self._file.check()
            if trial.version(connection) != self._tried:
                self._try(connection)
            before = connection.total_changes
            connection.executemany(table.INSERT, rows)
            changed = connection.total_changes - before
            # All are new nearly always: to ask costs nothing then.
            if changed != len(rows) and not trial.kept(connection, events):
                self._tried = -1
                raise trial.keeps_out(connection, self._path)
            connection.execute("COMMIT")
            if changed:
                own = self._file.stored
                self._file.committed()
                self._last_id = rows[-1][0] if changed == len(rows) else None
                if self._file.stored - len(rows) < own:  # some were there already, or numbers are given anew
                    self._watch.stored_behind(connection, own, self._file.stored, events, now)
        except (sqlite3.DataError, OverflowError, UnicodeEncodeError) as exc:
            self._roll_back()
            raise EventRefused(f"SQLite cannot hold it: {exc}") from exc
        except Left as exc:
            raise SinkUnavailable(str(exc)) from exc
        except SinkUnavailable:
            self._roll_back()
            raise
        except (sqlite3.Error, OSError) as exc:
            self._roll_back()
            raise self._unavailable(exc) from exc
        # Once more after the commit: had the file been removed meanwhile, the rows went with it.
        self._current()
        self._tidy(connection)

    def available(self) -> None:
        """Write: the schema's version, which is always the same. A full disk is found out by a commit only."""
        connection = self._current()
        try:
            connection.execute(f"PRAGMA user_version = {table.SCHEMA_VERSION}")
            self._file.mark()
            self._try(connection)
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc

    def preview(self) -> Sequence[Finding]:
        """Ask as `available` does, but make no file: where there is none, one beside it is tried and removed."""
        real = Path(os.path.realpath(self._path))
        try:
            there = real.exists()
        except OSError as exc:  # a directory above it is closed to this user
            raise self._unavailable(exc) from exc
        if there:
            self.available()
            return ()
        trial_file = real.with_name(f".{uuid.uuid4().hex}.check")
        beside = SqliteSink(SqliteSettings(path=trial_file, retention=None))
        try:
            beside.available()
        except SinkUnavailable as exc:
            raise SinkUnavailable(str(exc).replace(str(trial_file), str(self._path))) from exc
        finally:
            beside.close()
            for file in (trial_file, log_of(trial_file), index_of(trial_file)):
                with suppress(OSError):
                    file.unlink()
        return (Finding("ok", f"the file {self._path} is not there yet, run will make it"),)

    def refusal(self) -> str:
        """Refuse our image without a volume, and a file that is mounted without its log: both throw away."""
        return volume.refusal(self._path)

    def look(self) -> None:
        """Look again at the file, its log and its clock; go on in another file of that name at once."""
        try:
            connection = self._current()
        except SinkUnavailable:
            connection = self._current()  # it was left in order
        self._tidy(connection)
        volume.tell_of_names(self._path)
        size = self._file.log_size()
        try:
            if trial.version(connection) != self._tried:
                self._try(connection)
            self._watch.look(connection, self._file.place, self._file.stored, self._last_id)
            backlog = self._file.backlog() if size > LOG_TOO_LARGE else 0
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        if backlog > LOG_TOO_LARGE:
            notices.tell(
                "log-growing",
                f"SQLite file {self._path}: its write-ahead log has {size >> 20} MiB, as another program reads in one "
                "long transaction; end that one, and the log is folded into the file and cut",
                subject=str(self._path),
            )
        else:
            text = f"SQLite file {self._path}: its write-ahead log is folded into the file again"
            notices.over("log-growing", text, subject=str(self._path))

    def advice(self) -> Sequence[Finding]:
        """Return a finding on a retention that was probably meant otherwise, and on a file that others may read."""
        found = []
        if text := too_short(self._settings.retention):
            found.append(Finding("warn", f"BRIDGE_SQLITE_RETENTION: {text}"))
        if text := volume.open_to_others(self._path):
            found.append(Finding("warn", text))
        return found

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Another process that does the same at the same moment is waited for by the transaction, not by the pragma.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {self._wal_pages}")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise SinkUnavailable(
                f"{self._path}: no write-ahead log is possible there, as on a network file system: choose a path on a "
                "local one"
            )
        connection.execute("BEGIN IMMEDIATE")
        table.prepare(connection)
        content.prepare(connection)
        connection.execute(f"PRAGMA user_version = {table.SCHEMA_VERSION}")
        if self._retention is not None:
            self._retention.begin(connection)
        connection.execute("COMMIT")

    def _sync_directory(self) -> None:
        """Sync the directory: the file's name has to survive a power cut too, and SQLite syncs the file alone."""
        try:
            directory = os.open(os.path.realpath(self._path.parent), os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as exc:
            self._file.close()
            raise SinkUnavailable(f"{self._path}: cannot sync its directory: {exc.strerror}") from exc

    def location(self) -> str:
        """Return the file's path, and its device and inode: two machines may have a file of one name."""
        try:
            found = Path(self._path).stat()
        except OSError:
            return f"sqlite {self._path}"
        return f"sqlite {self._path} (device {found.st_dev}, inode {found.st_ino})"

    def _current(self) -> sqlite3.Connection:
        """Return the connection, if it still leads to the file of that name."""
        try:
            if self._file.connection is None:
                self.open()
            else:
                self._file.check()
        except Left as exc:
            raise SinkUnavailable(str(exc)) from exc
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        assert self._file.connection is not None
        return self._file.connection

    def _try(self, connection: sqlite3.Connection) -> None:
        """Try whether the table keeps events. Raises sqlite3.Error, SinkUnavailable."""
        self._tried = -1
        tried = trial.version(connection)
        trial.run(connection, self._path)
        self._tried = tried

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Mark the log, without which no commit counts; remove what is old, which the next time will do as well."""
        try:
            self._file.mark()
        except (sqlite3.Error, OSError) as exc:
            raise self._unavailable(exc) from exc
        if self._retention is not None:
            with suppress(sqlite3.Error):
                self._retention.remove(connection)

    def _roll_back(self) -> None:
        try:
            self._file.roll_back()
        except sqlite3.Error:
            self._file.abandon()

    def _unavailable(self, exc: sqlite3.Error | OSError) -> SinkUnavailable:
        connection, code = self._file.connection, getattr(exc, "sqlite_errorcode", 0) & 0xFF
        text = what_to_do(exc, connection, self._path)
        self._suspect = self._suspect or code == sqlite3.SQLITE_CORRUPT
        is_open = connection is not None and connection.in_transaction  # as it could not be ended
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or is_open:
            self._file.close()  # whatever it was, begin again with a fresh look at the file
        return SinkUnavailable(f"BRIDGE_SQLITE_PATH={self._path}: {text}")
