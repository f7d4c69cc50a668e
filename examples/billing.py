"""Bill each task that has succeeded, exactly once, into SQLite or PostgreSQL.

    python -m examples.billing --from kafka://localhost:9092/celery-events --database bills.db
    python -m examples.billing --from redis://localhost:6379/0 --database postgresql://billing@localhost/billing

A stream hands out each event at least once. The event's id is written in the same transaction as the bill, into a
column that takes it only once: an event that comes again changes nothing. The position is committed after that.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sqlite3
import sys
from typing import Any

from celery_event_bridge.config.loading import SettingsError
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import StoredEvent, open_reader

try:
    import psycopg

    DATABASE_ERRORS: tuple[type[Exception], ...] = (sqlite3.Error, psycopg.Error)
except ImportError:  # only PostgreSQL needs it
    psycopg = None
    DATABASE_ERRORS = (sqlite3.Error,)

TABLES = (
    "CREATE TABLE IF NOT EXISTS bills (event_id TEXT PRIMARY KEY, task TEXT, worker TEXT, seconds DOUBLE PRECISION)",
    "CREATE TABLE IF NOT EXISTS accounts (worker TEXT PRIMARY KEY, tasks INTEGER, seconds DOUBLE PRECISION)",
)
BILL = "INSERT INTO bills VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
ADD = """
INSERT INTO accounts VALUES (?, 1, ?)
ON CONFLICT (worker) DO UPDATE SET tasks = accounts.tasks + 1, seconds = accounts.seconds + excluded.seconds
"""
COMMIT_EVERY = 100
"""Events for one commit of the position. After a crash so many come again at most; none is billed again."""


class Ledger:
    """The bills, and each worker's sum of them, which would be wrong if an event counted twice."""

    def __init__(self, database: str) -> None:
        self._connection: Any
        if database.startswith(("postgresql://", "postgres://")):
            if psycopg is None:
                raise ValueError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'")
            self._connection, self._mark = psycopg.connect(database), "%s"
        else:
            self._connection, self._mark = sqlite3.connect(database, timeout=30), "?"
        for statement in TABLES:
            self._run(statement)
        self._connection.commit()

    def bill(self, event: StoredEvent) -> bool:
        """Whether it was not billed before. Durable on return; a process that dies in here has done nothing."""
        seconds = float(event.json().get("runtime") or 0.0)
        first = self._run(BILL, event.id, event.subject, event.source, seconds) == 1
        if first:
            self._run(ADD, event.source, seconds)
        self._connection.commit()
        return first

    def _run(self, statement: str, *values: Any) -> int:
        return int(self._connection.execute(statement.replace("?", self._mark), values).rowcount)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="Example: python -m examples.billing --database bills.db"
    )
    parser.add_argument("--from", dest="url", help="the stream; by default that of the BRIDGE_* settings")
    parser.add_argument("--database", required=True, help="a file for SQLite, or postgresql://user@host/name")
    parser.add_argument("--group", default="billing", help="consumers of one group share the work (billing)")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds after which a dead one is replaced (30)")
    parser.add_argument("--once", action="store_true", help="end where the stream ends now")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    ledger = Ledger(options.database)
    billed = again = 0
    reading = {"group": options.group, "types": "task-succeeded", "lease": options.lease, "follow": not options.once}
    with open_reader(options.url, **reading) as events:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, lambda *_: events.stop())
        event = None
        for event in events:
            if event.problem:
                print(f"passed over: {event.problem}", file=sys.stderr)
            elif ledger.bill(event):
                billed += 1
            else:
                again += 1
            if (billed + again) % COMMIT_EVERY == 0 or events.in_hand == 0:
                events.commit(event)
        if event is not None:
            events.commit(event)
    print(f"{billed} billed, {again} had been billed before")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (SettingsError, SinkUnavailable, ValueError, *DATABASE_ERRORS) as exc:
        sys.exit("billing: " + " ".join(str(exc).split()))
