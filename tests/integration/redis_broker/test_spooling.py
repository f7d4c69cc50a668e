"""A sink that is away for longer than memory lasts: what is gone is counted right, and with a spool nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.redis_broker import Publisher
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.stores import FULL

pytestmark = [pytest.mark.timeout(3600 if FULL else 400)]

SMALL = "16MiB" if FULL else "64KiB"
"""Of memory: some 16,000 events, or 60."""
RATE = 1000 if FULL else 500
"""Events a second."""
OUTAGE = 600 * RATE if FULL else 1500
"""Events that are published while the sink is away."""
GROWTH = 48 * 2**20
"""Bytes of resident memory beyond that, at most."""


def settings(broker: Redis, sink: Redis, **more: str) -> dict[str, str]:
    return {
        "BRIDGE_BROKER_URL": broker.url,
        "BRIDGE_SINK": "redis",
        "BRIDGE_REDIS_URL": sink.url,
        "BRIDGE_MAX_INFLIGHT_BYTES": SMALL,
        **more,
    }


def stored(sink: Redis) -> set[str]:
    return {json.loads(entry[b"data"])["uuid"] for entry in oracle.in_redis(sink.url)}


def outage(publisher: Publisher, sink: Redis, count: int) -> None:
    """Let the sink be away while so many are published."""
    sink.pause()
    before = len(publisher.sent)
    until(lambda: len(publisher.sent) > before + count, 60 + 2 * count / RATE, "more is published than memory holds")


def await_count(sink: Redis, count: int) -> None:
    """Wait until so many are stored, before they are looked at one by one."""
    with sink.client() as client:
        until(lambda: client.xlen("celery-events") >= count, 60 + count / 1000, "as many are stored", pause=0.2)


def test_without_a_spool_what_is_dropped_is_counted(
    start_bridge: Callable[..., Bridge], own_redis: Redis, second: Redis
) -> None:
    """To the event, and the memory stays within its bound."""
    bridge = start_bridge(**settings(own_redis, second)).await_ready()
    bridge.await_log("this bridge forwards")
    publisher = Publisher(own_redis.url, rate=RATE)
    publisher.start()
    until(lambda: stored(second), 20, "events are stored")
    before = bridge.rss_bytes()
    outage(publisher, second, OUTAGE + 500)
    assert bridge.rss_bytes() - before < GROWTH
    second.resume()
    sent = publisher.finish()
    last = max(sent, key=publisher.sent.__getitem__)
    until(lambda: last in stored(second), 60, "the last one is stored", pause=1.0)
    until(
        lambda: bridge.metric("notices_total", kind="dropped") == len(sent - stored(second)), 20, "the count is right"
    )
    assert len(sent - stored(second)) > 500


def test_with_a_spool_nothing_is_lost_though_the_one_that_forwards_is_killed(
    start_bridge: Callable[..., Bridge], own_redis: Redis, second: Redis, tmp_path: Path
) -> None:
    """Another one has all of it in a file of its own."""
    given = settings(own_redis, second, BRIDGE_SPOOL=str(tmp_path / "spool"))
    bridges = [start_bridge(**given).await_ready() for _ in range(2)]
    until(lambda: any(each.logged("this bridge forwards") for each in bridges), 20, "one forwards")
    publisher = Publisher(own_redis.url, rate=RATE)
    publisher.start()
    until(lambda: stored(second), 20, "events are stored")
    outage(publisher, second, OUTAGE)
    next(each for each in bridges if each.logged("this bridge forwards")).kill()
    before = len(publisher.sent)
    until(lambda: len(publisher.sent) > before + 500, 60, "more is published")
    second.resume()
    sent = publisher.finish()
    await_count(second, len(sent))
    until(lambda: sent <= stored(second), 60, "all is stored", pause=1.0)
    assert 0 == sum(each.metric("notices_total", kind="dropped") for each in bridges if each.process.poll() is None)


def test_what_a_stopped_bridge_has_spooled_the_next_one_sends(
    start_bridge: Callable[..., Bridge], own_redis: Redis, second: Redis, tmp_path: Path
) -> None:
    """Stopped in order while the sink is away: nothing is lost."""
    given = settings(own_redis, second, BRIDGE_SPOOL=str(tmp_path / "spool"), BRIDGE_SHUTDOWN_TIMEOUT="2")
    bridge = start_bridge(**given).await_ready()
    bridge.await_log("this bridge forwards")
    publisher = Publisher(own_redis.url, rate=RATE)
    publisher.start()
    until(lambda: stored(second), 20, "events are stored")
    outage(publisher, second, 1500)
    sent = publisher.finish()
    bridge.process.terminate()
    bridge.process.wait(60)
    second.resume()
    start_bridge(**given).await_ready()
    until(lambda: sent <= stored(second), 60, "all is stored")
