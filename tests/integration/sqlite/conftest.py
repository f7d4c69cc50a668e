"""Fixtures of the tests of SQLite: a file, and one that a killed bridge has left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

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
