"""Trial of the table `events`: whether it keeps what is stored, where readers find it; all of it is taken back at once.

Others may have hung a trigger, an index or a rule on it, or have built it anew: what it says of itself is not enough.
So it is tried with events like those that it has got last, two of each type, which differ by their id.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path

from celery_event_bridge.contract import Event, SinkUnavailable

KEPT_KINDS = """
SELECT type, source, subject, key, time, content_type, stored_at FROM events
WHERE rowid IN (SELECT max(rowid) FROM (SELECT rowid, type FROM events ORDER BY rowid DESC LIMIT 200) GROUP BY type)
"""
PLAIN = """
SELECT 'task-sent' AS type, 'trial' AS source, 'trial' AS subject, 'trial' AS key, 1 AS time,
    'application/json' AS content_type, 1 AS stored_at
"""
TRY = f"""
INSERT INTO events (id, type, source, subject, key, time, data, content_type, stored_at)
SELECT ?1 || number || ' ' || row_number() OVER (), type, source, subject, key, time,
    CAST('{{"trial":"' || hex(randomblob(8)) || '"}}' AS BLOB), content_type, stored_at
FROM (SELECT * FROM ({PLAIN}) UNION ALL SELECT * FROM ({KEPT_KINDS})), (SELECT 1 AS number UNION ALL SELECT 2)
"""  # noqa: S608 - nothing of others is in it
FOUND = "SELECT count(*), sum(seq IS rowid) FROM events WHERE id >= ?1 AND id < ?1 || 'x'"
WANTED = f"SELECT 2 * count(*) FROM (SELECT * FROM ({PLAIN}) UNION ALL SELECT * FROM ({KEPT_KINDS}))"  # noqa: S608
HOLDERS = """
SELECT type || ' ' || name FROM sqlite_master
WHERE tbl_name = 'events' AND type IN ('trigger', 'index') AND sql IS NOT NULL ORDER BY 1
"""
KEY = "SELECT 1 FROM pragma_table_info('events') WHERE name = 'seq' AND pk = 1 AND upper(type) = 'INTEGER'"
NO_KEY = (
    "the table `events` was built anew by somebody and its column `seq` is no INTEGER PRIMARY KEY, so that no "
    "reader sees what is stored in it: ALTER TABLE events RENAME TO another name, and a bridge makes it anew; copy the "
    "rows there then, with their `seq`"
)


def is_numbered(connection: sqlite3.Connection) -> bool:
    """Return whether the table, if it is there, gives each event a number. Raises sqlite3.Error."""
    if connection.execute(KEY).fetchone() is not None:
        return True
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone() is None


def version(connection: sqlite3.Connection) -> int:
    """Return what is another number once anybody has changed a table, an index or a trigger. Raises sqlite3.Error."""
    (number,) = connection.execute("PRAGMA schema_version").fetchone()
    return int(number)


def run(connection: sqlite3.Connection, path: Path) -> None:
    """Try it, in the transaction that is open or one of its own. Raises sqlite3.Error, SinkUnavailable."""
    where, name = f"BRIDGE_SQLITE_PATH={path}", f"trial {uuid.uuid4()} "
    if not is_numbered(connection):
        raise SinkUnavailable(f"{where}: {NO_KEY}")
    alone = not connection.in_transaction
    connection.execute("BEGIN IMMEDIATE" if alone else "SAVEPOINT trial")
    try:
        (wanted,) = connection.execute(WANTED).fetchone()
        connection.execute(TRY, (name,))
        found, numbered = connection.execute(FOUND, (name,)).fetchone()
    except sqlite3.IntegrityError as exc:
        raise SinkUnavailable(
            f"{where}: {exc}: somebody has put a rule on the table `events` that keeps events out "
            f"({_holders(connection)}); DROP it"
        ) from exc
    finally:
        # A failure of this is told, or the commit that follows would keep what was tried. After some errors SQLite has
        # taken it back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO trial")
            if not alone:
                connection.execute("RELEASE trial")
    if found != wanted:
        raise keeps_out(connection, path)
    if numbered != wanted:
        raise SinkUnavailable(f"{where}: {NO_KEY}")


def kept(connection: sqlite3.Connection, events: Sequence[Event]) -> bool:
    """Tell whether the table has all of these, in the transaction that has inserted them. Raises sqlite3.Error."""
    asked = "SELECT 1 FROM events WHERE id = ?"
    return all(connection.execute(asked, (event.id,)).fetchone() for event in events)


def keeps_out(connection: sqlite3.Connection, path: Path) -> SinkUnavailable:
    """Say who keeps events out of the table. Raises sqlite3.Error."""
    return SinkUnavailable(
        f"BRIDGE_SQLITE_PATH={path}: SQLite has taken events and does not have them: a trigger on the table `events` "
        f"keeps them out ({_holders(connection)}); DROP TRIGGER"
    )


def _holders(connection: sqlite3.Connection) -> str:
    return ", ".join(row[0] for row in connection.execute(HOLDERS)) or "none is listed"
