"""Rows before the place where a reader began, backwards, in steps: there is no index by task, and none is needed.

A task is received shortly before the rest of its events, so that a few steps find most names.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from celery_event_sinks.sqlite import table
from celery_event_sinks.sqlite.stored import lenient

STEP = 5000
"""Numbers of rows that a step looks at: 8 ms of two cores."""
ROWS = """
SELECT {columns} FROM events WHERE seq > ? AND seq <= ? AND type IN ({types}) ORDER BY seq DESC
"""


def earlier(connection: sqlite3.Connection, before: int, types: Collection[str]) -> Iterator[Sequence[Any]]:
    """Yield the rows of these types with a number of `before` at most, the newest first. Raises sqlite3.Error."""
    marks, columns = ", ".join("?" * len(types)), table.read(connection)
    (first,) = connection.execute("SELECT min(seq) FROM events").fetchone()
    while first is not None and before >= first:
        connection.text_factory = lenient
        try:
            found = connection.execute(
                ROWS.format(columns=columns, types=marks), (before - STEP, before, *types)
            ).fetchall()
        finally:
            connection.text_factory = str
        yield found
        before -= STEP
