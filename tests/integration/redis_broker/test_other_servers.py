"""Redis's successors as the broker: a newer Redis and Valkey carry a bridge, and `check` reads what they say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.checks import findings
from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.brokers.redis.rights import judged
from celery_event_bridge.brokers.redis.server import Server
from celery_event_bridge.brokers.redis.settings import Settings
from tests.support import servers
from tests.support.bridges import Bridge
from tests.support.redis_broker import settings as variables, stored
from tests.support.servers.debian import ROOT, until
from tests.support.servers.redis import NativeRedis, version_of


@pytest.fixture(params=["newer_redis", "valkey"])
def broker(request: pytest.FixtureRequest) -> Iterator[NativeRedis]:
    with getattr(servers, request.param)() as server:
        yield server


def test_a_bridge_forwards(start_bridge: Callable[..., Bridge], broker: NativeRedis, tmp_path: Path) -> None:
    """What another one that is killed has not confirmed included; `check` names the server and finds nothing wrong."""
    file = tmp_path / "events.db"
    bridges = [start_bridge(**variables(broker, file)).await_ready() for _ in range(2)]
    until(lambda: any(each.logged("this bridge forwards") for each in bridges), 30, "one forwards")
    for number in range(100):
        body = {"type": "task-sent", "uuid": f"u{number}", "hostname": "w", "timestamp": time.time()}
        with broker.client() as client:
            client.publish(
                "/0.celeryev/task.sent",
                sealed(json.dumps(body).encode(), "application/json", {}, "celeryev", "task.sent"),
            )
        if number == 50:
            next(each for each in bridges if each.logged("this bridge forwards")).kill()
    until(lambda: stored(file) == {f"u{number}" for number in range(100)}, 20, "all are stored")
    lines = list(findings(Settings.model_validate({"broker_url": broker.url}), lambda: "here"))
    name, _, version = version_of(broker).partition(" ")
    where = f"127.0.0.1:{broker.port}"
    assert f"broker {name} at {where}: connected, {version}" == lines[0].text
    assert not [line.text for line in lines if line.verdict == "FAIL" and "lease" not in line.text]


def test_each_right_that_is_lacking_is_named(broker: NativeRedis) -> None:
    """In their words as in those of Redis 7."""
    line = re.search(r"ACL SETUSER.*?(?=```)", (ROOT / "docs/how-to/redis-broker.md").read_text(), re.DOTALL)
    assert line
    settings = Settings.model_validate({"broker_url": broker.url.replace("redis://", "redis://bridge:password@")})
    with broker.client() as client:

        def said(*changes: str) -> str:
            client.execute_command(*line[0].split())
            client.execute_command("ACL", "SETUSER", "bridge", *changes)
            link = Link(connected(settings, settings.addresses[0], role="check"), "there")
            try:
                return " ".join(found.text for found in judged(link, settings.names, Server()))
            finally:
                link.close()

        for command in ("get", "set", "del", "hset", "pexpire", "time", "rpush", "lpop", "eval", "publish"):
            assert f"its user lacks +{command} (see" in said(f"-{command}")
        assert "its user lacks ~celeryev.bridge.* (see" in said("resetkeys", "~other*")
        assert "its user lacks &celeryev.bridge.* (see" in said("resetchannels", "&other")
        assert "lacks" not in said("~celeryev.bridge.*")
