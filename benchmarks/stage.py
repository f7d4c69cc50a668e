"""The servers, the same for all contenders, started when the first one needs them."""

from __future__ import annotations

import tempfile
import uuid
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks import backlog
from benchmarks.sinks import InKafka, InRedis, InSqlite, Sink
from tests.support import servers
from tests.support.servers import Kafka, RabbitMQ, Redis, ServerMissing
from tests.support.servers.certificates import certificates
from tests.support.servers.debian import free_port
from tests.support.servers.rabbitmq import NativeRabbitMQ

TLS = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_none
"""
"""A server that proves who it is to clients that need not."""


class Broker(NamedTuple):
    """Where a backlog waits."""

    url: str
    """For the harness."""
    contenders_url: str
    quorum_by_default: bool
    """Whether a queue that is declared without arguments is a quorum queue in this vhost."""
    ca: Path | None = None
    """The certificate to verify the broker with, where the contenders' URL is one with TLS."""


class Stage:
    """Servers of its own, or those that it is given; they end with it."""

    def __init__(
        self, rabbitmq: RabbitMQ | None = None, redis: Redis | None = None, kafka: Kafka | None = None
    ) -> None:
        self._stack = ExitStack()
        self._given = (rabbitmq, redis, kafka)
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-event-bridge-bench-")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def sink(self, kind: str) -> Sink | None:
        """A new one of that kind; none for a contender that stores nothing."""
        if kind == "sqlite":
            return InSqlite(self.folder)
        if kind == "redis":
            return InRedis(self.redis)
        return InKafka(self.kafka) if kind == "kafka" else None

    @cached_property
    def redis(self) -> Redis:
        return self._given[1] or self._stack.enter_context(servers.redis())

    @cached_property
    def kafka(self) -> Kafka:
        return self._given[2] or self._stack.enter_context(servers.kafka())

    @cached_property
    def plain(self) -> Broker:
        """Without TLS."""
        url = _vhost(self._given[0] or self._stack.enter_context(servers.rabbitmq()))
        backlog.prepare(url)
        return Broker(url, url, backlog.quorum_by_default(url))

    @cached_property
    def tls(self) -> Broker:
        """With TLS for the contenders: always a process, which needs a certificate of ours."""
        folder = self.folder / "certificates"
        folder.mkdir()
        certificates(folder)
        port = free_port()
        server = NativeRabbitMQ(TLS.format(port=port, folder=folder))
        self._stack.callback(server.remove)
        server.start()
        url = _vhost(server)
        backlog.prepare(url)
        secure = f"amqps://guest:guest@localhost:{port}/{url.rpartition('/')[2]}"
        return Broker(url, secure, backlog.quorum_by_default(url), folder / "ca.pem")


def _vhost(server: RabbitMQ) -> str:
    """A vhost in which a queue declared without arguments is a quorum queue: mq-bridge declares its queue like that."""
    name = f"v{uuid.uuid4().hex[:8]}"
    try:
        server.ctl("add_vhost", name, "--default-queue-type", "quorum")
        server.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    except ServerMissing:
        return server.new_vhost()  # somebody else's server, whose default may be another
    return server.url(name)
