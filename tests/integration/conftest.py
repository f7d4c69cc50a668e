"""Fixtures of the pages: servers with a worker at work, and a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Kafka, Redis
from tests.servers.rabbitmq import NativeRabbitMQ
from tests.terminal.terminal import Terminal
from tests.terminal.world import World, at_work


@pytest.fixture(scope="module")
def world(
    managed_rabbitmq: NativeRabbitMQ, redis_server: Redis, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Servers, and a worker at work."""
    made = World(managed_rabbitmq, redis_server, kafka_server)
    for vhost in ("elsewhere", "flower", "quiet"):
        managed_rabbitmq.ctl("add_vhost", vhost)
        managed_rabbitmq.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        made.listen(vhost)
    with at_work(made, tmp_path_factory.mktemp("work")):
        yield made


@pytest.fixture
def terminal(world: World, tmp_path: Path) -> Iterator[Terminal]:
    """An empty folder and a shell in it."""
    opened = world.terminal(tmp_path)
    yield opened
    opened.end()
    world.tidy()
