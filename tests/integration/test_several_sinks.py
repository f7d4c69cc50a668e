"""Two sinks at once: an event is acknowledged when both have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import oracle
from tests.bridges import Bridge
from tests.servers import Redis
from tests.servers.debian import until
from tests.stores import RedisStore, SqliteStore


def test_one_of_two_sinks_goes_away(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis, tmp_path: Path
) -> None:
    """What one has stored waits for the other, is not given to the first again, and in the end both have everything."""
    store, other = RedisStore(own_redis), SqliteStore(tmp_path)
    settings = other.settings | store.settings | {"BRIDGE_SINK": "redis,sqlite", "BRIDGE_BROKER_URL": broker_url}
    bridge = start_bridge(**settings, BRIDGE_RETRY_MAX_INTERVAL="1").await_ready()
    messages = oracle.numbered(0, 400)
    oracle.publish(broker_url, messages[:200])
    until(lambda: store.count() == 200 and other.count() == 200, 20, "both have the first half")
    store.stop()
    oracle.publish(broker_url, messages[200:])
    until(lambda: other.count() == 400, 20, "SQLite has all")
    assert bridge.metric("inflight_messages") > 0
    assert "redis: " in bridge.get("/readyz")[1]
    store.start()
    until(lambda: store.count() == 400, 30, "both have all")
    until(lambda: bridge.metric("inflight_messages") == 0, 20, "all is acknowledged")
    assert 0 == bridge.stop()
    expected = Counter(message.body for message in messages)
    assert expected == Counter(store.bodies())
    assert expected == Counter(other.bodies())
    assert 400 == bridge.logged("stopped")[0]["forwarded"]
