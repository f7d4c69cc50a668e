"""What nobody has heard is told of as long as it was, on real servers: as long as a publisher's missing events show."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.sentinel import Sentinel

from tests.faults.proxy import Proxy
from tests.support.bridges import Bridge
from tests.support.numbered import Numbered
from tests.support.redis_broker import settings, stored
from tests.support.sentinels import NAME, sentinels
from tests.support.servers import Redis
from tests.support.servers.debian import until

FORWARDS = "this bridge forwards"
LARGE = 24 * 1024 * 1024
"""Bytes published at once: more than kernels hold for a connection whose client reads nothing."""


class Stage:
    """Two bridges, and a publisher whose events they store."""

    def __init__(self, bridges: list[Bridge], publisher: Numbered, file: Path, record: Callable[..., None]) -> None:
        self.bridges = bridges
        self._publisher = publisher
        self._file = file
        self._record = record

    def told(self) -> float:
        """Return the seconds that the bridges have told of."""
        return sum(bridge.metric("gap_seconds_total") for bridge in self.bridges)

    def judge(self, over: float) -> None:
        """Wait until what is published after the fault, `over` then, is stored and the gap told; compare them."""
        publisher, file = self._publisher, self._file
        until(lambda: publisher.first_stored_after(over, file) is not None, 60, "events are stored again")
        took = time.monotonic() - over
        until(lambda: sum(bridge.metric("gaps_total") for bridge in self.bridges) > 0, 40, "the gap is counted")
        publisher.finish()
        last = max(publisher.sent, key=publisher.sent.__getitem__)
        until(lambda: last in stored(file), 20, "all that was heard is stored")
        told, missing = self.told(), publisher.missing(file)
        self._record("stored again after", round(took, 2))
        self._record("told", round(told, 3))
        self._record("missing", round(missing, 3))
        print(f"stored again {took:.2f} s after the fault; told {told:.3f} s, missing {missing:.3f} s")
        assert missing - 0.1 <= told <= missing + 1.0


@pytest.fixture
def stage(
    start_bridge: Callable[..., Bridge], tmp_path: Path, record_property: Callable[..., None]
) -> Iterator[Callable[..., Stage]]:
    """Return what starts two bridges with these settings, and a publisher to whoever is connected to."""
    publishers: list[Numbered] = []

    def start(connect: Callable[[], Client], **more: str) -> Stage:
        file = tmp_path / "events.db"
        variables = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(file), **more}
        bridges = [start_bridge(**variables).await_ready() for _ in range(2)]
        until(lambda: any(each.logged(FORWARDS) for each in bridges), 30, "one forwards")
        publishers.append(Numbered(connect))
        publishers[0].start()
        until(lambda: len(stored(file)) > 50, 30, "events are stored")
        return Stage(bridges, publishers[0], file, record_property)

    yield start
    for publisher in publishers:
        publisher.finish()


def at(server: Redis, tmp_path: Path) -> dict[str, str]:
    return settings(server, tmp_path / "events.db")


def subscribers(client: Client) -> int:
    return sum(each["name"].startswith("celery-event-bridge.consumer") for each in client.client_list())


def test_subscribers_are_killed(stage: Callable[..., Stage], own_redis: Redis, tmp_path: Path) -> None:
    """All of them, by an operator."""
    one = stage(own_redis.client, **at(own_redis, tmp_path))
    with own_redis.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        # Each has a silence of a few milliseconds, in which another one may be subscribed again, or nobody publishes.
        until(lambda: subscribers(client) == 2, 20, "both have subscribed again")
        for _ in range(20):
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        one.judge(time.monotonic())


@contextmanager
def stopped(bridges: list[Bridge]) -> Iterator[None]:
    for bridge in bridges:
        bridge.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for bridge in bridges:
            bridge.process.send_signal(signal.SIGCONT)


def test_output_buffers_are_full(stage: Callable[..., Stage], own_redis: Redis, tmp_path: Path) -> None:
    """The server cuts off who does not read; what it had written before is read, and no gap."""
    one = stage(own_redis.client, **at(own_redis, tmp_path))
    with own_redis.client() as client:
        client.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        with stopped(one.bridges):
            junk = b"x" * (LARGE // 24)
            for _ in range(240):
                client.publish("/0.celeryev/task.sent", junk)
                if not subscribers(client):
                    break
            assert not subscribers(client)
            begun = time.monotonic()
            until(lambda: time.monotonic() > begun + 3.0, 5, "it is three seconds later")
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")
        one.judge(time.monotonic())


def test_the_server_is_restarted(stage: Callable[..., Stage], own_redis: Redis, tmp_path: Path) -> None:
    """While there is none nobody publishes."""
    one = stage(own_redis.client, **at(own_redis, tmp_path))
    own_redis.kill()
    begun = time.monotonic()
    until(lambda: time.monotonic() > begun + 4.0, 6, "it is four seconds later")
    own_redis.start()
    one.judge(time.monotonic())


def test_sentinels_promote_another_one(stage: Callable[..., Stage]) -> None:
    """Until they have, nobody publishes: they name the one that is lost, or none."""
    with sentinels() as set_up:
        asked = Sentinel([("127.0.0.1", port) for port in set_up.ports], socket_timeout=1.0)

        def connect() -> Client:
            host, port = asked.discover_master(NAME)
            return Client(host=host, port=port, socket_timeout=1.0)

        options = json.dumps({"master_name": NAME})
        one = stage(connect, BRIDGE_BROKER_URL=set_up.url, BRIDGE_BROKER_TRANSPORT_OPTIONS=options)
        set_up.servers[0].kill()
        until(lambda: set_up.master() == set_up.servers[1].port, 60, "the replica is the master", pause=0.02)
        one.judge(time.monotonic())


def test_connections_are_half_open(stage: Callable[..., Stage], own_redis: Redis, tmp_path: Path) -> None:
    """The server has lost its subscribers, and they do not know: no answer shows it."""
    port = int(own_redis.url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port)
    try:
        one = stage(
            own_redis.client, **(at(own_redis, tmp_path) | {"BRIDGE_BROKER_URL": f"redis://127.0.0.1:{proxy.port}/0"})
        )
        proxy.half_open()
        one.judge(time.monotonic())
    finally:
        proxy.close()
