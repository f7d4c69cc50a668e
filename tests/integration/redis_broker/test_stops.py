"""SIGTERM ends a bridge of a Redis broker within BRIDGE_SHUTDOWN_TIMEOUT and two seconds, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bridges import Bridge
from tests.support.redis_broker import Publisher, settings
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.stops import TIMEOUT, ends_in_time
from tests.support.stores import RedisStore

pytestmark = [pytest.mark.fault]


@pytest.fixture
def two(start_bridge: Callable[..., Bridge], own_redis: Redis, second: Redis) -> tuple[Bridge, Bridge]:
    """The one that forwards, into the second Redis, and one that stands by."""
    common = settings(own_redis, Path("unused")) | {"BRIDGE_SHUTDOWN_TIMEOUT": str(TIMEOUT)}
    common = {name: text for name, text in common.items() if "SQLITE" not in name} | RedisStore(second).settings
    first = start_bridge(**common).await_ready()
    first.await_log("this bridge forwards")
    return first, start_bridge(**common).await_ready()


def test_with_everything_in_order(two: tuple[Bridge, Bridge]) -> None:
    """Who stands by is stopped as who forwards is."""
    ends_in_time(two[1])
    ends_in_time(two[0])


def test_while_the_broker_stands_still(two: tuple[Bridge, Bridge], own_redis: Redis) -> None:
    """Neither the lease nor the subscription can be given back, and nobody waits for it."""
    own_redis.pause()
    try:
        for bridge in two:
            ends_in_time(bridge)
    finally:
        own_redis.resume()


def test_while_the_broker_takes_no_writes(two: tuple[Bridge, Bridge], own_redis: Redis) -> None:
    """A replica refuses the lease's script."""
    with own_redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    two[0].await_log("READONLY", 30)
    for bridge in two:
        ends_in_time(bridge)


def test_while_the_sink_stands_still(two: tuple[Bridge, Bridge], own_redis: Redis, second: Redis) -> None:
    """What is not confirmed stays with those that stand by."""
    publisher = Publisher(own_redis.url)
    second.pause()
    try:
        publisher.start()
        until(lambda: two[0].metric("inflight_messages") > 20, 20, "events are in hand")
        for bridge in two:
            ends_in_time(bridge)
    finally:
        second.resume()
        publisher.finish()
