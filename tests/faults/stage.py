"""The servers, three bridges that consume through a proxy, and what a fault may do to them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from confluent_kafka.admin import AclOperation

from tests.faults.proxy import Proxy
from tests.faults.witness import Witness
from tests.faults.workload import Workload
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka
from tests.support.servers.kafka_acl import allow
from tests.support.servers.kafka_files import VERSION
from tests.support.servers.newer import redis_command
from tests.support.servers.rabbitmq import NativeRabbitMQ, amqp_url
from tests.support.servers.redis import NativeRedis
from tests.support.stores import KafkaStore, RedisStore, SqliteStore, Store

REPLICAS = 3
RECOVERY = 15.0
"""Seconds after a fault's end within which every replica consumes again."""
USER, PASSWORD = "bridge", "bridge"
"""The bridges' own user, whose rights may be withdrawn."""
VHOST = "/"
CONSUMER_TIMEOUT = 9.0
"""Seconds a delivery may be held before RabbitMQ closes its channel: instead of half an hour."""
BROKER = f"""
consumer_timeout = {CONSUMER_TIMEOUT * 1000:.0f}
disk_free_limit.absolute = 1MB
"""
STATISTICS = 6.0
"""Seconds; RabbitMQ counts a queue's messages every five."""
DEAD_LETTER_RETRY = 180.0
"""Seconds after which RabbitMQ tries a dead-letter route again that has failed, and moves nothing before that."""
SETTINGS = {
    # Short, so that a fault of seconds goes through all that a long one does.
    "BRIDGE_LET_GO_AFTER": "3",
    "BRIDGE_RETRY_MAX_INTERVAL": "1",
    "BRIDGE_SHUTDOWN_TIMEOUT": "5",
    "BRIDGE_PREFETCH": "300",
}


class Servers(NamedTuple):
    """Which servers a stage has."""

    rabbitmq: str = ""
    """The release of Debian that it comes from; else that of this machine."""
    redis: Callable[[], Sequence[str]] = redis_command
    """The command that starts it: one that drops duplicates, so that the verdict may ask for no record twice."""
    kafka: str = VERSION


NEWEST = Servers()


class Stage:
    """What a campaign plays on. Everything in it is its own and may be broken."""

    workload: Workload
    """What is published; a campaign brings it."""

    def __init__(
        self, sink: str, folder: Path, stack: ExitStack, nodes: int, settings: Mapping[str, str], servers: Servers
    ) -> None:
        self.sink = sink
        self._settings = settings
        self.servers = servers
        self.folder = folder
        self._stack = stack
        with ThreadPoolExecutor(1) as beside:
            store = beside.submit(self._store)
            self.nodes = self._rabbitmq(nodes)
        self.store = store.result()
        self.rabbitmq = self.nodes[0]
        self.rabbitmq.ctl("add_user", USER, PASSWORD)
        self.allow()
        self.broker_urls = [node.url() for node in self.nodes]
        self.broker_url = self.broker_urls[0]
        self.network = self._proxy(*(node.port for node in self.nodes))
        self.witness: Witness | None = None
        if isinstance(self.store, KafkaStore):
            self.witness = Witness(self.store.server.bootstrap, self.store.topic)
            self.witness.start()
            stack.callback(self.witness.finish)
        self.aside: list[bytes] = []
        """What was stored in a stream that was moved away since."""
        self.destroyed: set[bytes] = set()
        """The ids of what a fault destroyed in the stream."""
        self.verified = 0
        """Obligations, in the order of their confirms, that were seen in the stream before a fault destroyed it."""
        self.replicas: list[Bridge] = []
        self._started = 0
        for slot in range(REPLICAS):
            self.start(slot)

    def start(self, slot: int, **more: str) -> None:
        """A bridge in this slot, in the place of the one that was there; `more` is for its environment."""
        log = self.folder / f"bridge-{self._started}.log"
        self._started += 1
        url = amqp_url("127.0.0.1", self.network.port, VHOST, USER, PASSWORD)
        settings = {**self._settings} | self.store.settings | {"BRIDGE_BROKER_URL": url, "PYTHONFAULTHANDLER": "1"}
        bridge = Bridge(log, settings | more)
        self._stack.callback(bridge.end)
        self.replicas[slot : slot + 1] = [bridge]

    def pick(self, dice: Random) -> int:
        """One slot."""
        return dice.randrange(REPLICAS)

    def signal(self, number: signal.Signals, *slots: int) -> None:
        """To the bridges in these slots."""
        for slot in slots:
            self.replicas[slot].process.send_signal(number)

    def allow(self, pattern: str = ".*", write: str = "") -> None:
        """The bridges' rights; to write, others."""
        self.rabbitmq.ctl("set_permissions", "-p", VHOST, USER, pattern, write or pattern, pattern)

    def await_consuming(self) -> float:
        """Until every replica takes messages; returns the seconds it took. Raises TimeoutError."""
        begin = time.monotonic()
        for slot, bridge in enumerate(self.replicas):
            code = bridge.process.poll()
            assert code is None, f"bridge {slot} has ended with {code}: {bridge.log()[-3:]} ({bridge.log_file})"
            seen: list[float] = []

            def takes(bridge: Bridge = bridge, seen: list[float] = seen) -> bool:
                seen.append(bridge.metric("messages_received_total"))
                return seen[-1] > seen[0]

            left = RECOVERY - (time.monotonic() - begin)
            until(takes, left, f"bridge {slot} consumes ({bridge.log_file}; {bridge.log()[-2:]})")
        return time.monotonic() - begin

    def parked(self) -> list[bytes]:
        """The bodies in the parking queue, taken out of it."""
        return [bytes(message.body) for message in oracle.drain(self.broker_url, "celeryev.bridge.rejected")]

    def waiting(self) -> int:
        """Messages that are still in a queue, ready."""
        return sum(oracle.depth(self.broker_url, f"celeryev.bridge{end}") for end in ("", ".overflow"))

    def stored(self) -> Iterator[bytes]:
        """What is in the stream, and what is in one that was moved away and nowhere else."""
        bodies = self.store.bodies()
        if self.aside:
            now = set(bodies)
            yield from (body for body in dict.fromkeys(self.aside) if body not in now)
        yield from bodies

    def all_is_done(self) -> bool:
        """Whether nothing waits in a queue or in a bridge."""
        return not self.waiting() and not any(bridge.metric("inflight_messages") for bridge in self.replicas)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Inside, nothing is published, and all that was is stored."""
        self.workload.pause()
        empty_since = time.monotonic()

        def empty_for_long() -> bool:
            nonlocal empty_since
            if not self.all_is_done() or self._kept():
                empty_since = time.monotonic()
            return time.monotonic() - empty_since > STATISTICS

        try:
            until(empty_for_long, 60 + DEAD_LETTER_RETRY, "all is stored")
            yield
        finally:
            self.workload.resume()

    def _kept(self) -> int:
        """Messages in the live queue and in overflow: those too that wait for their dead-letter route, which are not
        ready ones. They are gone with the queue that they expired in.
        """
        lines = self.rabbitmq.ctl("list_queues", "name", "messages").splitlines()
        kept = {name: int(count or 1) for name, _, count in (line.partition("\t") for line in lines[1:])}
        return kept.get("celeryev.bridge", 0) + kept.get("celeryev.bridge.overflow", 0)

    def interrupt_stream(self) -> None:
        """The connections to the stream end, if a proxy is in the way."""
        if self.sink == "redis":
            self.stream_network.cut()

    def bindings(self, queue: str) -> str:
        """What this queue is bound to: a line each, with the exchange first."""
        lines = self.rabbitmq.ctl("list_bindings", "source_name", "destination_name").splitlines(keepends=True)
        return "".join(line for line in lines if line.rstrip().endswith(f"\t{queue}"))

    def leader(self) -> NativeRabbitMQ:
        """The node that leads the live queue."""
        lines = self.rabbitmq.ctl("list_queues", "name", "leader").splitlines()
        name = next(line.split()[1] for line in lines if line.startswith("celeryev.bridge\t"))
        return next(node for node in self.nodes if node.name == name)

    def _rabbitmq(self, nodes: int) -> list[NativeRabbitMQ]:
        release = self.servers.rabbitmq
        first = NativeRabbitMQ(BROKER, release=release)
        made = [first, *(NativeRabbitMQ(BROKER, first, release) for _ in range(nodes - 1))]
        for node in made:
            self._stack.callback(node.remove)
            node.start()
            # How often a channel looks for deliveries that are held for too long: once a minute else.
            node.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 1000).")
        return made

    def _proxy(self, *ports: int) -> Proxy:
        proxy = Proxy(*ports)
        self._stack.callback(proxy.close)
        return proxy

    def _store(self) -> Store:
        if self.sink == "sqlite":
            folder = self.folder / "stream"
            folder.mkdir()
            return SqliteStore(folder)
        if self.sink == "kafka":
            return self._kafka()
        redis = NativeRedis("--appendfsync", "always", "--enable-protected-configs", "yes", server=self.servers.redis())
        self._stack.callback(redis.remove)
        redis.start()
        self.stream_network = self._proxy(urlsplit(redis.url).port or 6379)
        store = RedisStore(redis)
        store.settings["BRIDGE_REDIS_URL"] = f"redis://127.0.0.1:{self.stream_network.port}/0"
        return store

    def _kafka(self) -> KafkaStore:
        config = {"min.insync.replicas": "2", "default.replication.factor": "3"}
        kafka = NativeKafka(3, config, {USER: PASSWORD}, self.servers.kafka, folder=self.folder / "kafka")
        self._stack.callback(kafka.remove)
        kafka.start()
        store = KafkaStore(kafka)
        operations = (AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
        allow(kafka.bootstrap, USER, store.topic, *operations)
        store.settings |= {
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": kafka.sasl_bootstrap,
            "BRIDGE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "BRIDGE_KAFKA_SASL_MECHANISM": "PLAIN",
            "BRIDGE_KAFKA_SASL_USERNAME": USER,
            "BRIDGE_KAFKA_SASL_PASSWORD": PASSWORD,
        }
        return store


@contextmanager
def stage(
    sink: str, folder: Path, nodes: int = 1, settings: Mapping[str, str] = SETTINGS, servers: Servers = NEWEST
) -> Iterator[Stage]:
    """A stage with all bridges ready; it is torn down at the end."""
    with ExitStack() as stack:
        made = Stage(sink, folder, stack, nodes, settings, servers)
        for bridge in made.replicas:
            bridge.await_ready()
        yield made
        for slot in range(REPLICAS):
            with suppress(ProcessLookupError):
                made.signal(signal.SIGCONT, slot)
