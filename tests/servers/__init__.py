"""Real servers for tests and the demo.

`rabbitmq()` and `redis()` yield a server, in this order of preference: the one that `TEST_RABBITMQ_URL` or
`TEST_REDIS_URL` names; a container, where a Docker engine answers; else a child process on free ports of 127.0.0.1,
from Debian's packages, which are installed on first use. With `own=True` the first is passed over: such a server is
nobody else's and may be killed. What was started stops with the process that asked for it, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.servers import containers
from tests.servers.debian import ServerMissing
from tests.servers.rabbitmq import GivenRabbitMQ, NativeRabbitMQ, RabbitMQ
from tests.servers.redis import GivenRedis, NativeRedis, Redis

__all__ = ["RabbitMQ", "Redis", "ServerMissing", "rabbitmq", "redis"]


@contextmanager
def rabbitmq(*, own: bool = False) -> Iterator[RabbitMQ]:
    """A RabbitMQ that answers. Raises ServerMissing where none is to be had."""
    if (url := os.environ.get("TEST_RABBITMQ_URL")) and not own:
        yield GivenRabbitMQ(url)
        return
    with ExitStack() as stack:
        server: RabbitMQ = containers.rabbitmq() if containers.engine() else NativeRabbitMQ()
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
        server: Redis = containers.redis() if containers.engine() else NativeRedis()
        stack.callback(server.remove)
        server.start()
        yield server
