"""Real servers for tests and the demo.

`rabbitmq()`, `redis()` and `kafka()` yield a server, in this order of preference: the one that `TEST_RABBITMQ_URL`,
`TEST_REDIS_URL` or `TEST_KAFKA_BOOTSTRAP_SERVERS` names; a container, where a Docker engine answers; else a child
process on free ports of 127.0.0.1, from Debian's packages, which are installed on first use, Kafka by Maven. With
`own=True` the first is passed over: such a server is nobody else's and may be killed. What was started stops with the
process that asked for it, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.support.servers import containers, newer
from tests.support.servers.debian import ServerMissing
from tests.support.servers.kafka import GivenKafka, Kafka, NativeKafka
from tests.support.servers.rabbitmq import GivenRabbitMQ, NativeRabbitMQ, RabbitMQ
from tests.support.servers.redis import GivenRedis, NativeRedis, Redis

__all__ = ["Kafka", "RabbitMQ", "Redis", "ServerMissing", "kafka", "newer_redis", "rabbitmq", "redis", "valkey"]


@contextmanager
def rabbitmq(*, own: bool = False) -> Iterator[RabbitMQ]:
    """A RabbitMQ that answers. Raises ServerMissing where none is to be had."""
    if (url := os.environ.get("TEST_RABBITMQ_URL")) and not own:
        yield GivenRabbitMQ(url)
        return
    with ExitStack() as stack:
        server: RabbitMQ = containers.rabbitmq() if containers.can_run(containers.RABBITMQ) else NativeRabbitMQ()
        stack.callback(server.remove)
        server.start()
        yield server


@contextmanager
def redis(*, own: bool = False) -> Iterator[Redis]:
    """A Redis that answers, with an append-only file. Raises ServerMissing where none is to be had."""
    if (url := os.environ.get("TEST_REDIS_URL")) and not own:
        yield GivenRedis(url)
        return
    with ExitStack() as stack:
        server: Redis = containers.redis() if containers.can_run(containers.REDIS) else NativeRedis()
        stack.callback(server.remove)
        server.start()
        yield server


@contextmanager
def newer_redis() -> Iterator[NativeRedis]:
    """A Redis >= 8.6 of the test's own, always a process. Raises ServerMissing where none is to be had."""
    with _process(newer.redis_command()) as server:
        yield server


@contextmanager
def valkey() -> Iterator[NativeRedis]:
    """A Valkey of the test's own, always a process. Raises ServerMissing where none is to be had."""
    with _process(newer.valkey_command()) as server:
        yield server


@contextmanager
def _process(command: Sequence[str]) -> Iterator[NativeRedis]:
    server = NativeRedis(server=command)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def kafka(*, own: bool = False, nodes: int = 1) -> Iterator[Kafka]:
    """A Kafka of one or three nodes that answers. Raises ServerMissing where none is to be had.

    Three are always processes, which a test can stop one by one without a network of containers.
    """
    if (bootstrap := os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS")) and not own and nodes == 1:
        yield GivenKafka(bootstrap)
        return
    with ExitStack() as stack:
        contained = nodes == 1 and containers.can_run(containers.KAFKA)
        server: Kafka = containers.kafka() if contained else NativeKafka(nodes)
        stack.callback(server.remove)
        server.start()
        yield server
