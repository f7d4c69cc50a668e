"""Fixtures of the tests of `audit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.streams import Stream, in_kafka, in_redis, in_sqlite


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stream]:
    """Each kind in turn, with nothing in it."""
    if request.param == "sqlite":
        made = in_sqlite(tmp_path)
    elif request.param == "redis":
        made = in_redis(request.getfixturevalue("redis_url"))
    else:
        made = in_kafka(request.getfixturevalue("kafka_server"))
    yield made
    made.sink.close()
