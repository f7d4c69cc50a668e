"""A master of Redis that is lost under its sentinels: the bridges find the next one, and say what nobody has heard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from celery_event_bridge.brokers.envelope import sealed
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.sentinels import NAME, sentinels
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis


def publish(server: NativeRedis, uuid: str) -> None:
    body = json.dumps({"type": "task-sent", "uuid": uuid, "hostname": "w", "timestamp": time.time()}).encode()
    with server.client() as client:
        client.publish("/0.celeryev/task.sent", sealed(body, "application/json", {}, "celeryev", "task.sent"))


def test_the_master_is_lost(start_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    """They forward what is published at the new one, without a restart of their own."""
    file = tmp_path / "events.db"
    with sentinels() as set_up:
        settings = {
            "BRIDGE_BROKER_URL": set_up.url,
            "BRIDGE_BROKER_TRANSPORT_OPTIONS": json.dumps({"master_name": NAME}),
            "BRIDGE_SINK": "sqlite",
            "BRIDGE_SQLITE_PATH": str(file),
        }
        bridges = [start_bridge(**settings).await_ready() for _ in range(2)]
        until(lambda: any(each.logged("this bridge forwards") for each in bridges), 30, "one forwards")
        old, new = set_up.servers
        publish(old, "before")

        def stored() -> set[str]:
            return {json.loads(row["data"])["uuid"] for row in oracle.in_sqlite(file)}

        until(lambda: "before" in stored(), 20, "it is stored")
        old.kill()
        until(lambda: set_up.master() == new.port, 60, "the replica is the master")

        def arrives() -> bool:
            publish(new, "after")
            return "after" in stored()

        until(arrives, 30, "what is published at the new master is stored", pause=0.2)
