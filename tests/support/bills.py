"""The bills that an example writes, in SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg

# Bills ------------------------------------------------------------------------------------------------------------


class Bills:
    """What is in the database, SQLite's or PostgreSQL's."""

    def __init__(self, database: str) -> None:
        self.database = database

    def ask(self, query: str) -> list[Any]:
        if self.database.startswith("postgresql:"):
            with psycopg.connect(self.database) as connection:
                return connection.execute(query).fetchall()
        with closing(sqlite3.connect(self.database, timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def ids(self) -> list[str]:
        try:
            return [row[0] for row in self.ask("SELECT event_id FROM bills")]
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return []  # not there yet

    def prepare(self, *statements: str) -> None:
        if self.database.startswith("postgresql:"):
            with psycopg.connect(self.database) as connection:
                for statement in statements:
                    connection.execute(statement)
            return
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")  # so that looking at it takes no time
            for statement in statements:
                connection.execute(statement)
            connection.commit()
