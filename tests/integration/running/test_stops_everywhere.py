"""SIGTERM ends a bridge within BRIDGE_SHUTDOWN_TIMEOUT and two seconds, whatever its ends are just doing to it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import Kafka, RabbitMQ, Redis
from tests.support.servers.debian import until
from tests.support.stops import TIMEOUT, ends_in_time
from tests.support.stores import FULL, KafkaStore, RedisStore, SqliteStore

pytestmark = [pytest.mark.fault]

SILENT = [Mode.STALL, Mode.TRICKLE, Mode.DROP_REPLIES, Mode.REFUSE] if FULL else [Mode.STALL, Mode.DROP_REPLIES]
WHEN = ["from the start", "later"] if FULL else ["later"]

StartBridge = Callable[..., Bridge]


@pytest.fixture
def bridge(start_bridge: StartBridge, broker_url: str, tmp_path: Path) -> StartBridge:
    """A bridge of these settings, from a virtual host of its own into SQLite unless they say otherwise."""

    def start(**settings: str) -> Bridge:
        common = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SHUTDOWN_TIMEOUT": str(TIMEOUT)}
        return start_bridge(**common | SqliteStore(tmp_path).settings | settings)

    return start


@pytest.fixture
def proxy() -> Iterator[Callable[[str], tuple[Proxy, str]]]:
    """Put a proxy before the server of a URL; gives it, and the URL that leads through it."""
    made: list[Proxy] = []

    def before(url: str) -> tuple[Proxy, str]:
        port = urlsplit(url).port
        assert port is not None
        made.append(Proxy(port))
        return made[-1], url.replace(f":{port}", f":{made[-1].port}")

    yield before
    for one in made:
        one.close()


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("mode", SILENT, ids=lambda mode: mode.name.lower())
def test_while_the_broker_is_out_of_reach(
    bridge: StartBridge, proxy: Callable[[str], tuple[Proxy, str]], broker_url: str, mode: Mode, when: str
) -> None:
    """Silent, deaf, trickling or refusing, from the first connection or with messages in hand."""
    line, url = proxy(broker_url)
    line.pace = 2.0
    line.mode = Mode.PASS if when == "later" else mode
    one = bridge(BRIDGE_BROKER_URL=url)
    if when == "later":
        one.await_ready()
        oracle.publish(broker_url, oracle.numbered(0, 50))
        line.mode = mode
        if mode is Mode.REFUSE:
            line.cut()
            one.await_log("broker unavailable")
    else:
        until(lambda: line.accepted, 20, "it has connected")
    ends_in_time(one)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("mode", SILENT, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("sink", ["redis", "kafka"])
def test_while_the_sink_is_out_of_reach(
    bridge: StartBridge,
    proxy: Callable[[str], tuple[Proxy, str]],
    broker_url: str,
    request: pytest.FixtureRequest,
    sink: str,
    mode: Mode,
    when: str,
) -> None:
    """With messages in hand that wait for their confirmation, or before the first connection is made."""
    if sink == "redis":
        server: Redis = request.getfixturevalue("own_redis")
        line, url = proxy(server.url)
        settings = RedisStore(server).settings | {"BRIDGE_REDIS_URL": url}
    else:
        kafka: Kafka = request.getfixturevalue("own_kafka")
        line, url = proxy(f"//{kafka.bootstrap}")
        # Only the first connection leads through it: a Kafka names itself the address of those that follow.
        settings = KafkaStore(kafka).settings | {"BRIDGE_KAFKA_BOOTSTRAP_SERVERS": url.removeprefix("//")}
    line.pace = 2.0
    line.mode = Mode.PASS if when == "later" else mode
    one = bridge(**settings)
    if when == "later":
        one.await_ready()
        line.mode = mode
        if mode is Mode.REFUSE:
            line.cut()
        oracle.publish(broker_url, oracle.numbered(0, 50))
        until(lambda: one.metric("messages_received_total") == 50, 20, "messages are in hand")
    else:
        until(lambda: line.accepted, 20, "it has connected")
    ends_in_time(one)


@pytest.mark.parametrize("sink", ["redis", "kafka"])
def test_while_the_sinks_server_stands_still(
    bridge: StartBridge, broker_url: str, request: pytest.FixtureRequest, sink: str
) -> None:
    """Frozen behind an open connection, with messages on their way to it."""
    server: Redis | Kafka = request.getfixturevalue(f"own_{sink}")
    store = RedisStore(server) if sink == "redis" else KafkaStore(server)  # type: ignore[arg-type]
    one = bridge(**store.settings).await_ready()
    server.pause()
    try:
        oracle.publish(broker_url, oracle.numbered(0, 50))
        until(lambda: one.metric("messages_received_total") == 50, 20, "messages are in hand")
        ends_in_time(one)
    finally:
        server.resume()


def test_while_somebody_else_holds_the_lock_of_the_file(bridge: StartBridge, broker_url: str, tmp_path: Path) -> None:
    """A writer of SQLite waits for the lock, and a stop does not."""
    store = SqliteStore(tmp_path)
    one = bridge().await_ready()
    store.stop()
    try:
        oracle.publish(broker_url, oracle.numbered(0, 50))
        until(lambda: one.metric("messages_received_total") == 50, 20, "messages are in hand")
        ends_in_time(one)
    finally:
        store.start()


def test_while_the_file_is_none_of_sqlites(bridge: StartBridge, tmp_path: Path) -> None:
    """A file that cannot be opened is waited for until the stop."""
    SqliteStore(tmp_path).path.write_bytes(b"something else " * 1000)
    one = bridge()
    one.await_log("sink unavailable")
    ends_in_time(one)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("CONFIG", "SET", "maxmemory", "1mb"), "OOM"),
        (("REPLICAOF", "127.0.0.1", "1"), "READONLY"),
        (("CONFIG", "SET", "requirepass", "another"), "NOAUTH"),
    ],
    ids=["full", "a replica", "another password"],
)
def test_while_redis_takes_no_writes(
    bridge: StartBridge, broker_url: str, own_redis: Redis, command: tuple[str, ...], reason: str
) -> None:
    """Whatever it answers, a stop does not wait until it answers something else."""
    one = bridge(**RedisStore(own_redis).settings).await_ready()
    with own_redis.client() as client:
        client.execute_command(*command)
        if reason == "NOAUTH":
            client.execute_command("AUTH", "another")
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    oracle.publish(broker_url, oracle.numbered(0, 50))
    one.await_log("sink unavailable", 30)
    ends_in_time(one)


def test_while_a_memory_alarm_keeps_messages_from_being_parked(bridge: StartBridge, own_rabbitmq: RabbitMQ) -> None:
    """What waits for its place among the parked goes back to the queue."""
    url = own_rabbitmq.new_vhost()
    one = bridge(BRIDGE_BROKER_URL=url, BRIDGE_QUEUE_TTL="60").await_ready()
    one.process.send_signal(signal.SIGSTOP)  # they wait in the queue until the alarm is there
    oracle.publish(url, [oracle.Published(b"no event %d" % number, {}, "task.sent") for number in range(3)])
    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    try:
        until(lambda: "memory" in own_rabbitmq.ctl("eval", "rabbit_alarm:get_alarms()."), 20, "the alarm is there")
        one.process.send_signal(signal.SIGCONT)
        until(lambda: one.metric("unparkable_messages") == 3, 30, "they cannot be parked")
        ends_in_time(one)
    finally:
        own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
