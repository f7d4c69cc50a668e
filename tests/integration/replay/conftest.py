"""Fixtures of the tests of `replay`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.streams import Stream, in_sqlite


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """A SQLite file with nothing in it."""
    return in_sqlite(tmp_path)
