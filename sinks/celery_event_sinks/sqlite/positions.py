"""Positions to begin at in the table `events`: by the time at which rows were stored."""

from __future__ import annotations

import sqlite3

from celery_event_sinks.sqlite.overtaken import removed

LATE = 10_000_000
"""Microseconds by which `stored_at` may be out of order: a writer takes the time before it waits for the lock."""
# A row that somebody else has written may have anything there.
NEXT = "SELECT stored_at FROM events WHERE seq > ? AND typeof(stored_at) = 'integer' ORDER BY seq LIMIT 1"
# Each by itself, for SQLite would look for both in all rows.
BOUNDS = "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
NEWEST = "SELECT min(seq) FROM (SELECT seq FROM events ORDER BY seq DESC LIMIT ?)"
FIRST = """
SELECT seq FROM events WHERE seq > ? AND stored_at >= ? AND typeof(stored_at) = 'integer' ORDER BY seq LIMIT 1
"""


def beginning(connection: sqlite3.Connection, since: str | int, newest: int = 0) -> int:
    """Return the `seq` after which to begin where there is no position, or `newest` rows before the end.

    Raises sqlite3.Error.
    """
    first, last = connection.execute(BOUNDS).fetchone()
    if last is None:
        return removed(connection).last  # none of that was to be read
    if newest:
        (found,) = connection.execute(NEWEST, (newest,)).fetchone()
        return int(found) - 1
    if since == "earliest":
        return int(first) - 1
    return int(last) if since == "latest" else _before(connection, int(since), int(last))


def _before(connection: sqlite3.Connection, since: int, last: int) -> int:
    """Return the `seq` before the first row stored at `since` or later; found by halving, as there is no index."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(NEXT, (middle,)).fetchone()
        if row is None or row[0] >= since - LATE:
            high = middle
        else:
            low = middle + 1
    row = connection.execute(FIRST, (low, since)).fetchone()
    return last if row is None else int(row[0]) - 1
