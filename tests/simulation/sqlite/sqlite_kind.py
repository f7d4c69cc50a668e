"""Kind `sqlite`: the real sink of every replica on one real file, with what befalls its calls."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.contract import Sink
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.simulation import faults
from tests.simulation.faults import Cards
from tests.simulation.judged import Judged
from tests.simulation.kinds import Kind
from tests.simulation.promises import Broken
from tests.simulation.sqlite.sqlite_calls import Disk, connect
from tests.simulation.sqlite.sqlite_cards import OF_SQLITE

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process
    from tests.simulation.replica import Replica

MEMORY = Path("/dev/shm")
NEW = "SELECT seq, id, data FROM events WHERE seq > ? ORDER BY seq"
gmtime = time.gmtime


class JudgedSqliteSink(Judged, SqliteSink):
    """The real one, whose verdicts are judged."""


class SqliteKind(Kind):
    """See the module's text."""

    scarce: ClassVar[bool] = False
    cards: ClassVar[Cards] = {**faults.OF_REPLICAS, **faults.OF_RABBITMQ, **OF_SQLITE}

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.path = self.folder / "events.db"
        self.disk = Disk(play.world, self.path, self._committed)
        self.others: list[sqlite3.Connection] = []
        """Connections of other programs."""
        self.stored: dict[str, int] = {}
        """By id of an event: its number in the table."""
        self._destroyed: dict[str, float] = {}
        self._last = 0
        self._pages = (20, 200, 4000)[int(play.world.random.random() * 3)]
        self._put_in_place()

    def _put_in_place(self) -> None:
        """See `undo`."""
        self._before = sqlite3.connect, os.stat
        sqlite3.connect, os.stat = self.disk.connect, self.disk.stat  # type: ignore[assignment]

    @staticmethod
    def in_place(_: Callable[[], float]) -> list[tuple[object, str, object]]:
        return [(time, "gmtime", lambda seconds=0.0: gmtime(seconds))]

    def refuses(self, data: bytes) -> bool:
        return False

    def sink(self, process: Process) -> Sink:
        sink = JudgedSqliteSink(SqliteSettings(path=self.path), wal_pages=self._pages)
        sink.holds, sink.now, sink.refuses = self.holds, process.monotonic, self.refuses
        return sink

    def killed(self, replica: Replica) -> None:
        super().killed(replica)
        self.disk.close_all_of(replica.process)

    def copies(self, event: str) -> int:
        return int(event in self.stored)

    def is_stored(self, event: str) -> bool:
        return self.holds(event)

    def holds(self, event: str, since: float = -1.0) -> bool:
        """Return whether an event is in the table, or was deleted from it after that time."""
        return event in self.stored or self._destroyed.get(event, -2.0) >= since

    def deleted(self, event: str) -> None:
        """Take note that somebody has deleted an event."""
        del self.stored[event]
        self._destroyed[event] = self.play.world.now

    def _committed(self, connection: sqlite3.Connection) -> None:
        raw = sqlite3.Connection.execute
        try:
            rows = raw(connection, NEW, (self._last,)).fetchall()
        except sqlite3.OperationalError:
            return  # the table is not there yet
        for seq, event, data in rows:
            self._last = seq
            self.stored[event] = seq
            self.play.oracle.stored(event, data)

    def heal(self) -> None:
        super().heal()
        self.disk.full = False
        self.disk.slow = 0.0
        self.disk.fail.clear()
        for other in self.others:
            other.close()
        self.others.clear()

    def judge(self) -> None:
        connection = connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                raise Broken("damaged: SQLite finds the file so")
            there = dict(connection.execute("SELECT id, seq FROM events"))
        finally:
            connection.close()
        if lost := self.stored.keys() - there.keys():
            raise Broken(f"lost: {len(lost)} events that were committed are not in the file")
        if there != self.stored:
            raise Broken("the file has other events than were committed")

    def undo(self) -> None:
        sqlite3.connect, os.stat = self._before
        self.disk.close_all_of()
        for other in self.others:
            other.close()
        for name in sorted(os.listdir(self.folder)):  # noqa: PTH208 - names
            (self.folder / name).unlink()
        self.folder.rmdir()
