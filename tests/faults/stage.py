"""The servers, three bridges that consume through a proxy, and what a fault may do to them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from tests import oracle
from tests.bridges import Bridge
from tests.faults.proxy import Proxy
from tests.servers.debian import until
from tests.servers.kafka import NativeKafka
from tests.servers.rabbitmq import NativeRabbitMQ, amqp_url
from tests.servers.redis import NativeRedis
from tests.stores import KafkaStore, RedisStore, SqliteStore, Store

REPLICAS = 3
RECOVERY = 15.0
"""Seconds after a fault's end within which every replica consumes again."""
USER, PASSWORD = "bridge", "bridge"
"""The bridges' own user, whose rights may be withdrawn."""
VHOST = "/"
SETTINGS = {
    # Short, so that a fault of seconds goes through all that a long one does.
    "BRIDGE_LET_GO_AFTER": "3",
    "BRIDGE_RETRY_MAX_INTERVAL": "1",
    "BRIDGE_SHUTDOWN_TIMEOUT": "5",
    "BRIDGE_PREFETCH": "300",
}


class Stage:
    """What a campaign plays on. Everything in it is its own and may be broken."""

    def __init__(self, sink: str, folder: Path, stack: ExitStack) -> None:
        self.sink = sink
        self._folder = folder
        self._stack = stack
        self.rabbitmq = NativeRabbitMQ()
        stack.callback(self.rabbitmq.remove)
        self.rabbitmq.start()
        self.rabbitmq.ctl("add_user", USER, PASSWORD)
        self.allow()
        self.broker_url = self.rabbitmq.url()
        self.network = self._proxy(self.rabbitmq.port)
        self.store = self._store()
        self.replicas: list[Bridge] = []
        self._started = 0
        for slot in range(REPLICAS):
            self.start(slot)

    def start(self, slot: int) -> None:
        """A bridge in this slot, in the place of the one that was there."""
        log = self._folder / f"bridge-{self._started}.log"
        self._started += 1
        url = amqp_url("127.0.0.1", self.network.port, VHOST, USER, PASSWORD)
        bridge = Bridge(log, SETTINGS | self.store.settings | {"BRIDGE_BROKER_URL": url})
        self._stack.callback(bridge.end)
        self.replicas[slot : slot + 1] = [bridge]

    def pick(self, dice: Random) -> int:
        """One slot."""
        return dice.randrange(REPLICAS)

    def signal(self, number: signal.Signals, *slots: int) -> None:
        """To the bridges in these slots."""
        for slot in slots:
            self.replicas[slot].process.send_signal(number)

    def allow(self, pattern: str = ".*") -> None:
        """The bridges' rights."""
        self.rabbitmq.ctl("set_permissions", "-p", VHOST, USER, pattern, pattern, pattern)

    def await_consuming(self) -> float:
        """Until every replica takes messages; returns the seconds it took. Raises TimeoutError."""
        begin = time.monotonic()
        for slot, bridge in enumerate(self.replicas):
            assert bridge.process.poll() is None, f"bridge {slot} has ended: {bridge.log()[-3:]}"
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

    def _proxy(self, port: int) -> Proxy:
        proxy = Proxy(port)
        self._stack.callback(proxy.close)
        return proxy

    def _store(self) -> Store:
        if self.sink == "sqlite":
            return SqliteStore(self._folder)
        if self.sink == "kafka":
            kafka = NativeKafka(3, {"min.insync.replicas": "2", "default.replication.factor": "3"})
            self._stack.callback(kafka.remove)
            kafka.start()
            return KafkaStore(kafka)
        redis = NativeRedis("--appendfsync", "always", "--enable-protected-configs", "yes")
        self._stack.callback(redis.remove)
        redis.start()
        self.stream_network = self._proxy(urlsplit(redis.url).port or 6379)
        store = RedisStore(redis)
        store.settings["BRIDGE_REDIS_URL"] = f"redis://127.0.0.1:{self.stream_network.port}/0"
        return store


@contextmanager
def stage(sink: str, folder: Path) -> Iterator[Stage]:
    """A stage with all bridges ready; it is torn down at the end."""
    with ExitStack() as stack:
        made = Stage(sink, folder, stack)
        for bridge in made.replicas:
            bridge.await_ready()
        yield made
        for slot in range(REPLICAS):
            with suppress(ProcessLookupError):
                made.signal(signal.SIGCONT, slot)
