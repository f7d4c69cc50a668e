"""Fixtures of the tests of a Redis broker: a second Redis, for the stream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import Redis, redis


@pytest.fixture
def second() -> Iterator[Redis]:
    with redis(own=True) as server:
        yield server
