"""Fixtures of the tests of reading: each kind of stream in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.streams import Stream, of_kind


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    """Each kind in turn."""
    made = of_kind(request.param, request)
    yield made
    made.sink.close()
