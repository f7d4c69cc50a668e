"""Fixtures of the tests of SQLite: a file, and one that a killed bridge has left."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from tests.support.sqlite_files import killed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def left_by_a_kill(spawned: Callable[..., SpawnProcess], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a file, a backup of it, and a log that holds what is not in the file."""

    def leave(folder: Path, count: int, how: str) -> None:
        monkeypatch.setenv("HOW", how)
        writer = spawned(killed, folder, count, True)
        writer.join(180)
        assert -signal.SIGKILL == writer.exitcode
        assert (folder / "events.db-wal").stat().st_size

    return leave


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Statements that fail, each once."""

    class Failing(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            if statement not in left:
                return super().execute(statement, *parameters)
            left.remove(statement)
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    left: list[str] = []
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
    return left
