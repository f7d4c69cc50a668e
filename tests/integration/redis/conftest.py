"""Fixtures of the tests of Redis: a client beside the sink, and a proxy before the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis as Client

from tests.faults.proxy import Proxy
from tests.support.redis_sinks import OPENED, port
from tests.support.servers import Redis, redis


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever a test has opened is closed with it."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def client(own_redis: Redis) -> Iterator[Client]:
    with own_redis.client() as client:
        yield client


@pytest.fixture
def proxy(own_redis: Redis) -> Iterator[Proxy]:
    proxy = Proxy(port(own_redis.url))
    yield proxy
    proxy.close()


@pytest.fixture
def second_redis() -> Iterator[Redis]:
    with redis(own=True) as server:
        yield server
