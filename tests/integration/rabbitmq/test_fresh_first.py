"""Behind a backlog, fresh events go first."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.stores import RedisStore, at_full_length

BACKLOG = 20_000
FRESH_SECONDS = 5.0
FRESH_RATE = 200

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600), at_full_length]


def test_fresh_events_pass_a_backlog_in_overflow(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis
) -> None:
    """With 20,000 messages in overflow, what is published now is taken from the live queue within its TTL."""
    store = RedisStore(own_redis)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    first = start_bridge(**settings).await_ready()
    assert 0 == first.stop()
    connection = oracle.broker(broker_url)
    channel = connection.channel()
    confirms = oracle.Confirms(channel)
    confirms.publish(oracle.numbered(0, BACKLOG))
    confirms.wait()
    until(lambda: oracle.depth(broker_url, "celeryev.bridge.overflow") >= BACKLOG, 60, "all is in overflow")
    bridges = [start_bridge(**settings) for _ in range(3)]
    begin, published = time.monotonic(), 0
    while (elapsed := time.monotonic() - begin) < FRESH_SECONDS:
        while published < elapsed * FRESH_RATE:
            body = json.dumps({"type": "task-custom", "uuid": f"fresh-{published}", "timestamp": time.time()}).encode()
            confirms.publish([oracle.Published(body, {"content_type": "application/json"}, "task.custom")])
            published += 1
        confirms.look()
    confirms.wait()
    connection.close()
    until(lambda: store.count() == BACKLOG + published, 60, "all is stored")
    with own_redis.client() as client:
        delays = sorted(
            int(entry.split(b"-")[0]) / 1000 - int(fields[b"time"]) / 1e6
            for entry, fields in client.xrange("celery-events")
            if fields[b"type"] == b"task-custom"
        )
    assert published == len(delays)
    assert BACKLOG == sum(bridge.metric("messages_expired_total") for bridge in bridges)
    for bridge in bridges:
        assert 0 == bridge.stop()
    p99 = delays[len(delays) * 99 // 100]
    print(f"{published} fresh events: p50 {statistics.median(delays):.3f} s, p99 {p99:.3f} s, max {delays[-1]:.3f} s")
