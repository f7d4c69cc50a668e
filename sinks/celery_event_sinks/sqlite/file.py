"""The file as sink and reader share it: a connection that is known to lead to the file, and the log, of that name.

Whatever others do to the three files of that name is found out by their inodes and by what the file holds without its
log: asked before and after each commit, with five calls of the system while nothing has changed. A handle that no
longer leads there is left in the way that loses nothing: see `leave`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_sinks.sqlite import checkpoint, log, table
from celery_event_sinks.sqlite.content import Examiner, Mark, content
from celery_event_sinks.sqlite.leftovers import GRACE, Leftovers, Place, name_of
from celery_event_sinks.sqlite.whereabouts import Change, Places, Whereabouts

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another writer's lock; the loop stands still meanwhile. With three writers that each sync,
waits of 2 s were seen."""

MODE = 0o600
"""Permissions of a file that we make."""
READ = "SELECT 1 FROM sqlite_master LIMIT 1"


class Left(Exception):
    """The connection no longer leads to the file of that name, and was given up. The text says why."""

    def __init__(self, change: Change, text: str) -> None:
        super().__init__(text)
        self.change = change


class EventFile:
    """File of that name, and the one connection to it."""

    def __init__(self, path: Path, mode: str, logger: str = "celery_event_bridge", grace: float = GRACE) -> None:
        self.path = path
        self._real = path
        """Without symbolic links: where SQLite keeps the log."""
        self._mode = mode
        """`rwc`, `rw` or `ro`, as SQLite has it."""
        self._logger = logger
        self.connection: sqlite3.Connection | None = None
        self._guard: sqlite3.Connection | None = None
        """Reads only. The last connection to be closed writes the log into the file, whatever file that is now, unless
        another one is open and cannot write itself."""
        self._at = Whereabouts(path, path, Places(None, None, None))
        self._examiner = Examiner(path)
        self._leftovers = Leftovers(path, readonly=mode == "ro", logger=logger, grace=grace)
        self._marked = ""
        """The salt of the log that is known to be marked."""
        self._recorded = -1
        """The number that all who have the file open know to be in it without the log."""
        self.stored = 0
        """Number of the last event stored here; 0 where none was, or that is not known."""
        self._known = False
        """True if the file was open before, so that one that is made anew is worth a line."""

    @property
    def place(self) -> Place | None:
        """Device and inode of the file that is open."""
        return self._at.places.file

    def committed(self) -> None:
        """Take note of the last event, right after the commit that has stored some. Raises sqlite3.Error."""
        if self.connection is not None:
            (self.stored,) = self.connection.execute("SELECT last_insert_rowid()").fetchone()

    def open(self, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        """Open and prepare it, no log of another file beside it. Raises sqlite3.Error, OSError, SinkUnavailable."""
        self.close()
        self._real = Path(os.path.realpath(self.path))
        with log.directory_lock(self._real.parent, 2 * BUSY_TIMEOUT):
            made = not self._real.exists()
            self._leftovers.settle(self._real)
            if made and self._mode == "rwc":
                self._make()
            connection = self._with_whole_log()
            try:
                table.tune(connection)
                prepare(connection)
                if self._mode != "ro":
                    self._guard = self._connect("ro")
                    self._guard.execute(READ).fetchone()
                before, self._at = self._at.places.file, Whereabouts(self.path, self._real)
                self.stored = self.stored if before == self._at.places.file else 0
                self.connection, self._examiner, self._marked = connection, Examiner(self._real), ""
                self._recorded = -1
                self.mark()
            except BaseException:
                self.connection = None
                self._at.close()
                connection.close()
                self._close_guard()
                raise
        if made and self._known:
            self._tell("stream-made", f"SQLite file {self.path}: it was not there any more, and was made anew")
        self._known = True
        return connection

    def check(self) -> None:
        """See to it that the connection leads to the file and the log of that name. Raises Left where it does not."""
        change = self._change()
        if change is not None:
            raise Left(change, self.leave(change))

    def mark(self) -> None:
        """Mark the log where it has begun anew, or was written into the file. Before a commit counts as one.

        So that all who have the file open know what has to be in it. Raises sqlite3.Error.
        """
        connection = self.connection
        if connection is None or self._mode == "ro":
            return
        for _ in range(3):  # the marking itself may begin the log anew
            salt = self._at.salt()
            if not salt or (salt == self._marked and self._examiner.written <= self._recorded):
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._mark(connection, self._at.salt())
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def backlog(self) -> int:
        """Return the bytes of the log that could not be written into the file. Raises sqlite3.Error."""
        return 0 if self.connection is None else checkpoint.fold(self.connection)

    def log_size(self) -> int:
        """Return the bytes of the log."""
        try:
            return log.log_of(self._real).stat().st_size
        except OSError:
            return 0

    def leave(self, change: Change) -> str:
        """Give the connection up without a loss, and return what was done. Raises SinkUnavailable.

        A file that was moved is finished through the handle that still leads to it. So is one whose log is gone, before
        anybody can begin another. What was overwritten gets nothing of the log of what was there before.
        """
        moved_to = ""
        aside: list[Path] = []
        with log.directory_lock(self._real.parent, 2 * BUSY_TIMEOUT):
            now, ours = self._at.now(self._real), self._at.places
            if change is Change.FILE and now.file == ours.file:
                pass  # a symbolic link leads to another file: this one and its log stay together
            elif self._mode != "ro":
                moved_to = name_of(self._at.places.file, self._real)
                if change is Change.FILE and moved_to:
                    self._drain()
                elif change is Change.LOG and now.shm in (None, ours.shm) and self._at.whole() and not self._drain():
                    raise SinkUnavailable(
                        f"SQLite file {self.path}: its log was removed, and cannot be saved into the file while "
                        "another program reads in one long transaction; end that one"
                    )
                # With another index, the log is of those who have begun that one.
                alone = now.shm is None and now.log == ours.log
                stale = [log.log_of(self._real)] if now.shm == ours.shm or alone else []
                if change is Change.FRAMES:
                    stale = []  # what is left in it is found again when it is opened
                stale += [log.index_of(self._real)] if now.shm == ours.shm else []
                aside = self._put_aside(stale)
            self._close(finish=change is Change.FILE and now.file == ours.file)
        found = "found " if change in (Change.LOG, Change.FRAMES) else ""
        text = f"SQLite file {self.path}: the file was {found}{change.value}; opening it anew"
        if moved_to and change is Change.FILE:
            text += f"; the old one is {moved_to} now, and complete unless a log is named here"
        if aside:
            text += f"; what belonged to the old one was put aside as {', '.join(map(str, aside))}"
        if self._mode != "ro":
            self._tell("stream-replaced", text)
        return text

    def close(self) -> None:
        """Close it; where it no longer leads to that name, as `leave` does. Never raises."""
        if self.connection is None:
            return
        try:
            change = self._change()
            if change is not None:
                self.leave(change)
                return
            finish = True
        except (sqlite3.Error, OSError, SinkUnavailable):
            finish = False
        self._close(finish=finish)

    def roll_back(self) -> None:
        """Take back what the transaction has stored, if there is one. Raises sqlite3.Error."""
        connection = self.connection
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")

    def abandon(self) -> None:
        """Close it as it is, and write nothing of the log into it. Never raises."""
        self._close(finish=False)

    def _with_whole_log(self) -> sqlite3.Connection:
        """Connect, with an index that counts on no more than the log holds. Raises sqlite3.Error, SinkUnavailable."""
        for _ in range(2):
            connection = self._connect(self._mode)
            with suppress(sqlite3.Error):  # whatever it says of the content, index and log are open then
                connection.execute(READ).fetchone()
            if Whereabouts.whole_now(self.path, self._real):
                return connection
            guard = self._connect("ro")
            with suppress(sqlite3.Error):
                guard.execute(READ).fetchone()
            connection.close()
            guard.close()
            text = f"SQLite file {self.path}: the file was found {Change.FRAMES.value}"
            if self._mode == "ro":
                raise SinkUnavailable(f"{text}; a bridge, or a reader of a group, sees to it")
            self._put_aside([log.index_of(self._real)])
            self._tell("stream-replaced", f"{text}; opening it with what is left there")
        raise SinkUnavailable(f"{text}; another program goes on with it: end that one")

    def _make(self) -> None:
        """Make it empty, for this user alone: arguments and results of tasks are in it. SQLite gives the log the same
        rights. What is in the way, it says itself.
        """
        with suppress(OSError):
            os.close(os.open(self._real, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))

    def _connect(self, mode: str) -> sqlite3.Connection:
        name = f"file:{quote(os.fsencode(self._real))}?mode={mode}"
        return sqlite3.connect(name, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)

    def _close(self, *, finish: bool) -> None:
        connection, self.connection = self.connection, None
        self._at.close()
        if finish:
            self._close_guard()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        self._close_guard()

    def _close_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            with suppress(sqlite3.Error):
                guard.close()

    def _change(self) -> Change | None:
        """Return what has changed, if anything. Raises SinkUnavailable where the content is damaged, sqlite3.Error."""
        connection = self.connection
        return self._at.change(lambda found: connection is None or self._examiner.good(connection, found))

    def _mark(self, connection: sqlite3.Connection, salt: str) -> None:
        """Mark the log, in a transaction: nobody else can begin it anew."""
        assert self._at.places.file is not None
        row = connection.execute("SELECT device, inode, mark FROM bridge_file").fetchone()
        mark = Mark.parse(row[2] if row else None)
        written = self._examiner.written
        if mark.salt == salt and row[:2] == self._at.places.file and mark.seq >= written:
            self._marked, self._recorded = salt, mark.seq
            return
        if mark.salt == salt:
            mark = mark._replace(seq=max(mark.seq, written))
        else:
            holds = content(self._real)
            # What the log holds already may be in the file at any moment; it began with what the file holds now.
            before = dict.fromkeys([mark.salt, *([] if holds is None else [holds.salt])])
            (cookie,) = connection.execute("PRAGMA schema_version").fetchone()
            mark = Mark(salt, tuple(before), int(cookie) & 0xFFFFFFFF, holds.seq if holds else 0)
        values = (*self._at.places.file, str(mark))
        connection.execute("UPDATE bridge_file SET device = ?, inode = ?, mark = ?", values)

    def _put_aside(self, files: list[Path]) -> list[Path]:
        try:
            return log.put_aside(*files)
        except OSError as exc:
            names = " and ".join(map(str, files))
            raise SinkUnavailable(
                f"SQLite file {self.path}: cannot put {names} aside, which belong to the file before: {exc.strerror}; "
                "move them away"
            ) from exc

    def _drain(self) -> bool:
        """Write all of the log into the file that the handle leads to; return whether that was possible."""
        if self.connection is None or not self._at.whole():
            return False  # what is there instead would be written into the file
        return checkpoint.drain(self.connection)

    def _tell(self, kind: str, text: str) -> None:
        notices.tell(kind, text, subject=str(self.path), logger=self._logger)
