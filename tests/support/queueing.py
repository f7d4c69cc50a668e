"""`queues` as a process, and what it shows."""

from __future__ import annotations

import json
import subprocess
from urllib.parse import urlsplit

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

QUEUES = ("celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected")


def queues(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "queues", *arguments, BRIDGE_BROKER_URL=url, **settings)


def shown(url: str, what: str) -> dict[str, int]:
    """One figure of each queue, as `queues show` has it."""
    lines = queues(url, "show", "--format", "json").stdout.splitlines()
    return {line["name"]: line[what] for line in map(json.loads, lines)}


def exists(url: str, queue: str) -> bool:
    try:
        oracle.depth(url, queue)
    except Exception:  # noqa: BLE001 - a py-amqp channel error
        return False
    return True


def expire_without_a_target(url: str, count: int) -> list[bytes]:
    """Messages that wait for their dead-letter route: overflow was missing when they expired, and is there again."""
    topology = Topology.from_settings(Settings(broker_url=url))
    connection = oracle.broker(url)
    topology.declare(connection.channel())
    connection.channel().queue_delete("celeryev.bridge.overflow")
    messages = oracle.numbered(0, count)
    oracle.publish(url, messages)
    until(lambda: oracle.depth(url, "celeryev.bridge") == 0, 20, "they have expired")
    topology.declare(connection.channel())
    connection.close()
    assert 0 == oracle.depth(url, "celeryev.bridge.overflow")
    return [message.body for message in messages]


def is_bound(node: NativeRabbitMQ, url: str) -> bool:
    found = node.ctl("list_bindings", "-p", urlsplit(url).path[1:], "source_name", "destination_name")
    return "celeryev\tceleryev.bridge" in found.splitlines()
