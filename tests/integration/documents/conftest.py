"""Fixtures of the pages: servers with a worker at work, and a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import Redis
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.terminal.page import Page
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.tls import HERE, TLS, Removable
from tests.support.terminal.world import World, at_work


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest,
    managed_rabbitmq: NativeRabbitMQ,
    redis_server: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Servers, Kafka in modules that are named for it, and a worker at work."""
    kafka = request.getfixturevalue("kafka_server") if "kafka" in request.path.name else None
    made = World(managed_rabbitmq, redis_server, kafka)
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


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the bridge needs, for the path of a new environment: nothing is fetched for it."""
    folder = tmp_path_factory.mktemp("packages")
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    for one in site.iterdir():
        if not re.match(r"celery_event|pip\b|__pycache__|_*editable|.*\.pth$", one.name):
            (folder / one.name).symlink_to(one)
    return folder


@pytest.fixture
def servers() -> Iterator[list[Removable]]:
    """Servers of the test's own, which end with it."""
    started: list[Removable] = []
    yield started
    for server in started:
        server.remove()


@pytest.fixture
def certified(world: World, terminal: Terminal) -> Terminal:
    """A terminal with the certificates of the page, for the names that servers have here."""
    folder = terminal.folder / "tls"
    terminal.replaced[:0] = [(r"/etc/bridge-tls", str(folder)), (r"DNS:\$name", f"DNS:$name,{HERE}")]
    terminal.run("export TYPED_TRAFFIC=")
    Page(TLS).type(world, terminal, "Certificates")
    return terminal
