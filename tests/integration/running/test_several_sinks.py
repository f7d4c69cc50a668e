"""Two sinks at once: an event is acknowledged when both have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.load import Load
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.stores import RedisStore, SqliteStore


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


def test_check_knows_bridges_of_several_sinks(
    start_bridge: Callable[..., Bridge], broker_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Those that store in the same streams belong together, in whatever order; who stores in one of them does not."""
    settings = {
        "BRIDGE_BROKER_URL": broker_url,
        "BRIDGE_REDIS_URL": redis_url,
        "BRIDGE_REDIS_STREAM": tmp_path.name,
        "BRIDGE_SQLITE_PATH": str(tmp_path / "events.db"),
    }
    bridge = start_bridge(**settings, BRIDGE_SINK="redis,sqlite").await_ready()
    until(lambda: bridge.metric("queue_messages", queue="celeryev.bridge") == 0, 10, "it has looked")
    load = Load(broker_url, 20)  # `check` waits for an event
    load.start()
    same = run_to_end("celery_event_bridge", "check", **settings, BRIDGE_SINK="sqlite,redis")
    other = run_to_end("celery_event_bridge", "check", **settings, BRIDGE_SINK="redis")
    load.finish()
    assert 0 == same.returncode, same.stdout
    assert 1 == other.returncode
    (line,) = [line for line in other.stdout.splitlines() if line.startswith("FAIL")]
    assert "each event reaches one of the two only" in line
