"""Events that a retention has removed before a reader came to them: at least how many.

A hole in `seq` proves nothing: an event that is stored again takes a number and leaves it unused. So the removal keeps
a row of its own on what it has removed, and what cannot have been before a position was after it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from celery_event_bridge.contract import notices
from celery_event_sinks.sqlite import anew

TABLE = """
CREATE TABLE IF NOT EXISTS bridge_removed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    number INTEGER NOT NULL
)
"""
OF_OTHERS = """
DELETE FROM bridge_removed
WHERE NOT (typeof(first) = 'integer' AND typeof(last) = 'integer' AND typeof(number) = 'integer')
"""
ADD = """
INSERT INTO bridge_removed (one, first, last, number) VALUES (1, ?, ?, ?)
ON CONFLICT (one) DO UPDATE SET last = max(last, excluded.last), number = number + excluded.number
"""


class Removed(NamedTuple):
    """Events removed since the file knows of it."""

    first: int = 0
    """The lowest number among them."""
    last: int = 0
    """The highest one; 0 where nothing was."""
    number: int = 0

    def after(self, position: int, before: int) -> int:
        """Return how many there were, at least, after this position and before the event that comes next."""
        if self.last <= position:
            return 0
        unread = max(1, self.number - max(0, position + 1 - self.first))
        return max(0, min(unread, before - position - 1))


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table. Raises sqlite3.Error."""
    connection.execute(TABLE)


def add(connection: sqlite3.Connection, what: Removed) -> None:
    """Take note of it, in the transaction of the removal. Raises sqlite3.Error."""
    connection.execute(OF_OTHERS)
    connection.execute(ADD, what)


def forget(connection: sqlite3.Connection) -> None:
    """Forget what was removed from a table that is not there any more, in a transaction. Raises sqlite3.Error."""
    last = anew.counter(connection)
    if last is not None and _is_there(connection):
        connection.execute("DELETE FROM bridge_removed WHERE last > ?", (last,))


def removed(connection: sqlite3.Connection) -> Removed:
    """Return what was removed, as far as the file knows. Raises sqlite3.Error."""
    if not _is_there(connection):
        return Removed()  # no bridge with a retention has written to it
    row = connection.execute("SELECT first, last, number FROM bridge_removed").fetchone()
    if row is not None and not all(isinstance(number, int) for number in row):
        notices.tell(
            "stream-advice",
            "SQLite: somebody has written something else than numbers into the table `bridge_removed`: what was "
            "removed before is not known any more; DELETE FROM bridge_removed",
            subject="bridge_removed",
            every=3600.0,
        )
        row = None
    found, counter = Removed() if row is None else Removed(*row), anew.counter(connection)
    return found if counter is None or found.last <= counter else Removed()  # of a table before this one


def _is_there(connection: sqlite3.Connection) -> bool:
    asked = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'bridge_removed'"
    return bool(connection.execute(asked).fetchone()[0])


def missed_by_groups(connection: sqlite3.Connection, since: str | int) -> dict[str, int]:
    """Return how many events each group has missed, or will miss, by its position. Raises sqlite3.Error.

    None where the file reaches back beyond `since`, in microseconds since 1970: what is gone is older.
    """
    gone = removed(connection)
    oldest = connection.execute("SELECT seq, stored_at FROM events ORDER BY seq LIMIT 1").fetchone()
    if isinstance(since, int) and oldest is not None and isinstance(oldest[1], int) and oldest[1] < since:
        return {}
    asked = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'bridge_readers'"
    if not connection.execute(asked).fetchone()[0]:
        return {}
    before = gone.last + 1 if oldest is None else int(oldest[0])
    groups = connection.execute(
        "SELECT name, position FROM bridge_readers WHERE typeof(position) = 'integer'"
    ).fetchall()
    return {name: missed for name, position in groups if (missed := gone.after(position, before)) > 0}
