"""RabbitMQ, Redis and Kafka in containers, through testcontainers, where a Docker engine answers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import docker
from docker.errors import DockerException, ImageNotFound
from redis import Redis as Client
from testcontainers.core.container import DockerContainer

from tests.support.servers.debian import free_port, until
from tests.support.servers.kafka import ALONE, brokers
from tests.support.servers.rabbitmq import amqp_url, can_connect, new_vhosts

RABBITMQ = "rabbitmq:4"
REDIS = "redis:8"
KAFKA = "apache/kafka:4.1.0"


@cache
def engine() -> bool:
    """Whether a Docker engine answers; asked once, for two seconds at most."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if address.startswith("unix://") and not Path(address.removeprefix("unix://")).exists():
        return False
    try:
        with closing(docker.from_env(timeout=2)) as client:
            return bool(client.ping())
    except Exception:  # noqa: BLE001 - no engine, no socket, no permission: no engine for us
        return False


@cache
def can_run(image: str) -> bool:
    """Whether an engine answers that has this image, or can pull it; asked once."""
    if not engine():
        return False
    with closing(docker.from_env(timeout=300)) as client:
        try:
            client.images.get(image)
        except ImageNotFound:
            print(f"pulling the image {image}", file=sys.stderr, flush=True)
            try:
                client.images.pull(image)
            except DockerException as exc:
                print(f"no image {image}, going on without: {exc}", file=sys.stderr, flush=True)
                return False
    return True


class _Container:
    """One container on a port of 127.0.0.1 that stays the same when it is started again."""

    def __init__(self, image: str, port: int, *command: str) -> None:
        self.port = free_port()
        self._container: Any = DockerContainer(image)
        self._container.ports[f"{port}/tcp"] = ("127.0.0.1", self.port)  # with_bind_ports would open it to everybody
        if command:
            self._container.with_command(list(command))
        self._started = False

    def start(self, *_nodes: int) -> None:
        if self._started:
            self._docker.start()
        else:
            self._container.start()
            self._started = True
        until(self._answers, 60, f"{type(self).__name__} answers")

    def kill(self, *_nodes: int) -> None:
        self._docker.kill()

    def pause(self) -> None:
        self._docker.pause()

    def resume(self) -> None:
        self._docker.unpause()

    def remove(self) -> None:
        if self._started:
            self._container.stop()

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _run(self, *command: str) -> str:
        code, output = self._docker.exec_run(list(command))
        assert code == 0, f"{' '.join(command)}: {output.decode(errors='replace')}"
        return str(output.decode(errors="replace"))

    def _answers(self) -> bool:
        raise NotImplementedError("a container says how to tell that it answers")


class rabbitmq(_Container):  # noqa: N801 - called like the function that makes one
    """RabbitMQ's official image."""

    def __init__(self) -> None:
        enabled = "rabbitmq-plugins enable --offline rabbitmq_consistent_hash_exchange"
        super().__init__(RABBITMQ, 5672, "sh", "-c", f"{enabled} && exec docker-entrypoint.sh rabbitmq-server")
        self._vhosts: list[str] = []

    def url(self, vhost: str = "/") -> str:
        return amqp_url("127.0.0.1", self.port, vhost)

    def new_vhost(self) -> str:
        self._vhosts = self._vhosts or new_vhosts(self.ctl)
        return self.url(self._vhosts.pop())

    def ctl(self, *arguments: str) -> str:
        return self._run("rabbitmqctl", "--quiet", *arguments)

    def await_queues_on_disk(self, url: str, queues: int) -> None:
        vhost = unquote(urlsplit(url).path[1:])
        search = f"cat /var/lib/rabbitmq/mnesia/*/quorum/*/names.dets | grep -oaF '{vhost}' | wc -l"
        until(lambda: int(self._run("sh", "-c", search)) >= queues, 20, "the queues' names are on disk")

    def disk_bytes(self) -> int:
        return 1024 * int(self._run("du", "-sk", "/var/lib/rabbitmq").split()[0])

    def _answers(self) -> bool:
        return can_connect(self.url())


class redis(_Container):  # noqa: N801 - called like the function that makes one
    """Redis's official image, with an append-only file."""

    def __init__(self) -> None:
        super().__init__(REDIS, 6379, "redis-server", "--appendonly", "yes", "--save", "")
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Client:
        return Client.from_url(self.url, socket_timeout=10)

    def _answers(self) -> bool:
        return bool(self.client().ping())


class kafka(_Container):  # noqa: N801 - called like the function that makes one
    """Apache Kafka's official image: one node, broker and controller."""

    nodes = (1,)

    def __init__(self, config: Mapping[str, str] | None = None) -> None:
        super().__init__(KAFKA, 9092)
        self.bootstrap = f"127.0.0.1:{self.port}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "broker.session.timeout.ms": "3000",
            **ALONE,
            **(config or {}),
        }
        for name, text in properties.items():
            self._container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", text)

    def _answers(self) -> bool:
        return brokers(self.bootstrap) == {1}
