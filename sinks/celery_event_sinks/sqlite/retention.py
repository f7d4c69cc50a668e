"""Removal of what is older than the retention, by the file's own clock and never by one replica's alone.

The clock is a row of the file. It goes on as fast as time passes for a bridge that has the file open, is never ahead of
any replica's clock, and follows a jump of one only where the events' own times, from the workers' clocks, agree. So it
may be late, after a time in which no bridge ran, and nothing is removed too early.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from celery_event_bridge.contract import notices
from celery_event_sinks.sqlite import overtaken
from celery_event_sinks.sqlite.overtaken import Removed

INTERVAL = 60.0
"""Seconds between two removals."""
CHUNK = 5000
"""Rows removed at a time, so that no writer waits for long."""
TOLERANCE = 3_600_000_000
"""Microseconds by which two clocks may differ."""
FASTER = 1.001
"""Rate by which another clock may run faster than ours; an NTP daemon slews one by half of that."""
WITNESSES = 101, 20
"""Newest events whose own times are asked, and how many of them must have one."""

NEWEST = "SELECT stored_at FROM events WHERE typeof(stored_at) = 'integer' ORDER BY seq DESC LIMIT 1"
TIMES = "SELECT time FROM (SELECT time FROM events ORDER BY seq DESC LIMIT ?) WHERE typeof(time) = 'integer'"
# Only what is before the first row that is to stay: one that was stored just now is, whatever its replica's clock says.
# A time of the future is no reason for others to stay.
EXPIRED = """
FROM events WHERE stored_at < :before AND seq IN (SELECT seq FROM events ORDER BY seq LIMIT :chunk)
AND seq < coalesce(
    (
        SELECT min(seq) FROM (SELECT seq, stored_at FROM events ORDER BY seq LIMIT :chunk)
        WHERE stored_at BETWEEN :before AND :ahead
    ),
    9223372036854775807
)
"""


class Retention:
    """Retention of one file, as one process sees to it. Raises sqlite3.Error throughout."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._due = 0.0
        self._last: tuple[int, float] | None = None
        """The file's clock, and ours that never jumps, at the last look."""

    def begin(self, connection: sqlite3.Connection) -> None:
        """Set the file's clock when it is opened, before anything is stored or removed. In a transaction."""
        overtaken.prepare(connection)
        self._last = None
        self._now(connection)

    def remove(self, connection: sqlite3.Connection) -> None:
        """Remove what is too old, a part at a time, where it is time to look."""
        now = time.monotonic()
        if now < self._due:
            return
        removed = 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            clock = self._now(connection)
            newest = connection.execute(NEWEST).fetchone()
            if newest is not None:
                before = min(clock, int(newest[0])) - round(self._seconds * 1e6)
                bounds = {"before": before, "ahead": clock + TOLERANCE, "chunk": CHUNK}
                removed = self._removed(connection, bounds)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        # A full chunk: there is more, take it with the next batch.
        self._due = now if removed == CHUNK else now + INTERVAL
        if removed:
            text = f"SQLite file {self._path}: events stored longer ago than the retention were removed ({removed} now)"
            notices.tell("removed", text, subject=str(self._path), count=removed, level=logging.INFO)

    @staticmethod
    def _removed(connection: sqlite3.Connection, bounds: Mapping[str, int]) -> int:
        overtaken.forget(connection)
        what = Removed(*connection.execute(f"SELECT min(seq), max(seq), count(*) {EXPIRED}", bounds).fetchone())
        if what.number:
            connection.execute(f"DELETE {EXPIRED}", bounds)
            overtaken.add(connection, what)
        return what.number

    def _now(self, connection: sqlite3.Connection) -> int:
        """Move the file's clock on, and return it."""
        own, steady = time.time_ns() // 1000, _steady()
        (clock,) = connection.execute("SELECT clock FROM bridge_file").fetchone() or (None,)
        if clock is None:
            clock = (connection.execute(NEWEST).fetchone() or (own,))[0]
        if self._last is not None:
            clock = max(clock, self._last[0] + round((steady - self._last[1]) * FASTER * 1e6))
        if own < clock or self._witnessed(connection, own):
            clock = own
        elif own - clock > TOLERANCE:
            notices.tell(
                "clock",
                f"SQLite file {self._path}: this machine's clock is {(own - clock) / 3.6e9:.1f} h ahead of the file's, "
                "more than time has passed while a bridge ran; until the events' own times agree, nothing is removed "
                "by it. Is it right?",
                subject=str(self._path),
                every=3600.0,
            )
        connection.execute("UPDATE bridge_file SET clock = ?", (clock,))
        self._last = clock, steady
        return int(clock)

    @staticmethod
    def _witnessed(connection: sqlite3.Connection, own: int) -> bool:
        """Return whether the newest events happened about now, by their workers' clocks."""
        newest, enough = WITNESSES
        times = [row[0] for row in connection.execute(TIMES, (newest,))]
        return len(times) >= enough and abs(median(times) - own) < TOLERANCE


def _steady() -> float:
    """Return the time in seconds, by a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
