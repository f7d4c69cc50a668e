"""Whatever the broker takes away from a running bridge, it builds anew and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = pytest.mark.fault


def delete_the_queue(server: RabbitMQ, url: str) -> None:
    """The consumer is cancelled by the broker."""
    server.ctl("delete_queue", "-p", vhost(url), "celeryev.bridge")


def close_the_connections(server: RabbitMQ, url: str) -> None:
    """Each is closed by an operator."""
    server.ctl("close_all_connections", "-p", vhost(url), "because")


def close_the_channels(server: RabbitMQ, url: str) -> None:
    """Each channel ends with an error of its own, as it does at the consumer timeout."""
    server.ctl("eval", "[exit(Pid, kill) || Pid <- rabbit_channel:list()], ok.")


def vhost(url: str) -> str:
    return unquote(urlsplit(url).path[1:])


@pytest.mark.parametrize("fault", [delete_the_queue, close_the_connections, close_the_channels])
def test_it_consumes_again(
    start_bridge: Callable[..., Bridge],
    rabbitmq_server: RabbitMQ,
    broker_url: str,
    tmp_path: Path,
    fault: Callable[[RabbitMQ, str], None],
) -> None:
    """After the fault the queue is there, consumed, and what is published then is stored."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    oracle.publish(broker_url, oracle.numbered(0, 10))
    until(lambda: store.count() == 10, 20, "the first are stored")
    fault(rabbitmq_server, broker_url)
    bridge.await_log("broker available again")
    until(lambda: bridge.get("/readyz")[0] == 200, 20, "the bridge is ready again")
    oracle.publish(broker_url, oracle.numbered(10, 10))
    until(lambda: store.count() == 20, 20, "the others are stored")
    assert 1 <= bridge.metric("reconnects_total", end="broker")
    assert 0 == bridge.stop()
