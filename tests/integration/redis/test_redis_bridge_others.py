"""A whole bridge over a Redis around which others change something: nothing is lost, and it says what is the matter."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.oracle import Published
from tests.support.redis_sinks import configured, port, replicate, through
from tests.support.servers import Redis, redis
from tests.support.servers.debian import PATIENCE, until


def stored(url: str) -> set[bytes]:
    return {entry[b"data"] for entry in oracle.in_redis(url)}


def bodies(messages: list[Published]) -> set[bytes]:
    return {event for message in messages for event in oracle.events_of(message)}


def test_a_failover_behind_one_name(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis, proxy: Proxy
) -> None:
    """All is stored in the new master without a restart of the bridge."""
    bridge = start_bridge(BRIDGE_SINK="redis", BRIDGE_BROKER_URL=broker_url, BRIDGE_REDIS_URL=through(proxy))
    bridge.await_ready()
    first, second = oracle.numbered(0, 10), oracle.numbered(10, 20)
    oracle.publish(broker_url, first)
    until(lambda: bodies(first) <= stored(own_redis.url), 20, "the first are stored")
    with redis(own=True) as other, other.client() as new, own_redis.client() as old:
        replicate(new, own_redis.url)
        new.replicaof("NO", "ONE")
        proxy.lead_to(port(other.url))
        old.replicaof("127.0.0.1", str(port(other.url)))
        oracle.publish(broker_url, second)
        until(lambda: bodies(first + second) <= stored(other.url), 30, "all are stored")


def test_one_event_that_takes_the_connection_down(start_bridge: Callable[..., Bridge], broker_url: str) -> None:
    """It is parked, with the reason; the ten around it are stored."""
    with configured("--client-query-buffer-limit", "1mb") as server:
        bridge = start_bridge(BRIDGE_SINK="redis", BRIDGE_BROKER_URL=broker_url, BRIDGE_REDIS_URL=server.url)
        bridge.await_ready()
        small = oracle.numbered(0, 10)
        big = msgspec.json.encode({"type": "task-sent", "hostname": "w", "uuid": "big", "args": "x" * 3_000_000})
        oracle.publish(broker_url, [*small[:5], small[0]._replace(body=big), *small[5:]])
        until(lambda: bodies(small) <= stored(server.url), 40, "ten are stored")
        until(lambda: oracle.depth(broker_url, "celeryev.bridge.rejected") == 1, 40, "one is parked")
        (parked,) = oracle.drain(broker_url, "celeryev.bridge.rejected")
        assert parked.body == big
        assert (
            "the connection" in parked.application_headers["x-bridge-error"]
            or "client-query-buffer-limit" in (parked.application_headers["x-bridge-error"])
        )
        until(lambda: bridge.get("/readyz")[0] == 200, 20, "it is ready")


def test_a_stuck_connection_is_said(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis, proxy: Proxy
) -> None:
    """Readiness and the log name the sink that trickles, a stop ends in time, and nothing is lost."""
    settings = {"BRIDGE_SINK": "redis", "BRIDGE_BROKER_URL": broker_url, "BRIDGE_REDIS_URL": through(proxy)}
    bridge = start_bridge(**settings)
    bridge.await_ready()
    messages = oracle.numbered(0, 10)
    oracle.publish(broker_url, messages[:5])
    until(lambda: bodies(messages[:5]) <= stored(own_redis.url), 20, "the first are stored")
    proxy.pace, proxy.replies_only, proxy.mode = 2.0, True, Mode.TRICKLE
    oracle.publish(broker_url, messages[5:])
    until(lambda: bridge.get("/readyz")[0] == 503, 30, "it is not ready")
    assert "stuck" in bridge.get("/readyz")[1]
    until(lambda: "the connection is stuck" in bridge.log_file.read_text(), 20, "the log says so")
    began = time.monotonic()
    bridge.stop()
    assert time.monotonic() - began < 30 * PATIENCE
    proxy.heal()
    proxy.cut()
    start_bridge(**settings).await_ready()
    until(lambda: bodies(messages) <= stored(own_redis.url), 40, "all are stored")


def test_a_password_that_is_replaced(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis, tmp_path: Path
) -> None:
    """The file is written anew, the old password withdrawn: the bridge goes on by itself."""
    with own_redis.client() as client:
        client.acl_setuser("writer", enabled=True, passwords=["+old"], commands=["+@all"], keys=["*"])
        file = tmp_path / "url"
        file.write_text(own_redis.url.replace("redis://", "redis://writer:old@") + "\n")
        bridge = start_bridge(BRIDGE_SINK="redis", BRIDGE_BROKER_URL=broker_url, BRIDGE_REDIS_URL_FILE=str(file))
        bridge.await_ready()
        client.acl_setuser("writer", enabled=True, passwords=["-old", "+new"])
        client.client_kill_filter(_type="normal", skipme=True)
        messages = oracle.numbered(0, 10)
        oracle.publish(broker_url, messages)
        until(lambda: "WRONGPASS" in bridge.get("/readyz")[1], 30, "the login is refused")
        assert "check user and password in BRIDGE_REDIS_URL_FILE" in bridge.get("/readyz")[1]
        file.write_text(own_redis.url.replace("redis://", "redis://writer:Sommer2030/xyz@"))
        bridge.await_log(f"BRIDGE_REDIS_URL_FILE={file} holds no valid URL: not a URL of Redis", 30)
        until(lambda: "_FILE (which holds no valid URL" in bridge.get("/readyz")[1], 30, "it is shown")
        assert "Sommer" not in bridge.get("/readyz")[1] + bridge.log_file.read_text()
        file.write_text(own_redis.url.replace("redis://", "redis://writer:new@") + "\n")
        until(lambda: bodies(messages) <= stored(own_redis.url), 40, "all are stored")
        assert ":old@" not in bridge.log_file.read_text()
        assert ":new@" not in bridge.log_file.read_text()
