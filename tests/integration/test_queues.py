"""`queues`: declared for bridges that may not, shown, moved under load without loss, removed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import oracle
from tests.bridges import Bridge, run_to_end
from tests.load import Load
from tests.servers import RabbitMQ
from tests.servers.debian import until
from tests.stores import SqliteStore, await_stored

QUEUES = ("celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected")


def queues(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "queues", *arguments, BRIDGE_BROKER_URL=url, **settings)


def exists(url: str, queue: str) -> bool:
    try:
        oracle.depth(url, queue)
    except Exception:  # noqa: BLE001 - a channel error of py-amqp's
        return False
    return True


def test_declared_for_a_bridge_that_declares_nothing(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """With BRIDGE_DECLARE=false a bridge says what is missing; once `queues declare` has run, it forwards."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_DECLARE="false")
    bridge.await_log("unavailable")
    assert "BRIDGE_DECLARE=false" in bridge.logged("unavailable")[0]["reason"]
    done = queues(broker_url, "declare")
    assert (0, "") == (done.returncode, done.stderr)
    assert all(f"queue {name}: declared" in done.stdout for name in QUEUES)
    bridge.await_ready()
    messages = oracle.numbered(0, 10)
    oracle.publish(broker_url, messages)
    until(lambda: store.count() == 10, 20, "all is stored")
    assert 0 == bridge.stop()


def test_show(broker_url: str) -> None:
    """Missing queues and other arguments are exit code 1; depths, consumers and arguments are shown."""
    done = queues(broker_url, "show")
    assert 1 == done.returncode
    assert 3 == done.stdout.count("missing")
    assert 0 == queues(broker_url, "declare").returncode
    oracle.publish(broker_url, oracle.numbered(0, 3))
    until(lambda: oracle.depth(broker_url, "celeryev.bridge") == 3, 20, "the depth is known")
    done = queues(broker_url, "show", "--format", "json")
    assert 0 == done.returncode
    states = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(QUEUES) == set(states)
    assert 3 == states["celeryev.bridge"]["messages"]
    assert 5000 == states["celeryev.bridge"]["arguments"]["x-message-ttl"]
    done = queues(broker_url, "show", BRIDGE_QUEUE_TTL="9")
    assert 1 == done.returncode
    assert "x-message-ttl=5000" in done.stdout


def test_show_for_who_may_only_read(own_rabbitmq: RabbitMQ) -> None:
    """With BRIDGE_DECLARE=false nothing but the right to look is needed."""
    url = own_rabbitmq.new_vhost()
    assert 0 == queues(url, "declare").returncode
    own_rabbitmq.ctl("add_user", "looker", "open-sesame")
    try:
        own_rabbitmq.ctl("set_permissions", "-p", urlsplit(url).path[1:], "looker", "^$", "^$", ".*")
        looking = url.replace("guest:guest", "looker:open-sesame")
        done = queues(looking, "show", BRIDGE_DECLARE="false")
        assert (0, "") == (done.returncode, done.stderr)
        assert all(f"{name}: 0 ready" in done.stdout for name in QUEUES)
        # Whoever declares them compares their arguments, too, and needs the right to.
        done = queues(looking, "show")
        assert 1 == done.returncode
        assert "ACCESS_REFUSED" in done.stdout + done.stderr
    finally:
        own_rabbitmq.ctl("delete_user", "looker")


def test_remove(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """Refused while a bridge consumes or messages wait, in one line; else all are gone, and again is no error."""
    bridge = start_bridge(**SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    until(lambda: "1 consumers" in queues(broker_url, "show").stdout, 20, "the consumer is seen")
    done = queues(broker_url, "remove")
    assert 1 == done.returncode
    assert "stop the bridges first" in done.stderr
    assert 0 == bridge.stop()
    oracle.publish(broker_url, oracle.numbered(0, 3))
    until(lambda: "holds" in queues(broker_url, "remove").stderr, 20, "the messages are seen")
    assert all(exists(broker_url, name) for name in QUEUES)
    assert 0 == queues(broker_url, "remove", "--force").returncode
    assert not any(exists(broker_url, name) for name in QUEUES)
    again = queues(broker_url, "remove")
    assert (0, "there is none of them\n") == (again.returncode, again.stdout)


@pytest.mark.fault
def test_migrate_under_load(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """To another TTL while events are published and bridges of both settings run: nothing is lost, the old are gone."""
    store = SqliteStore(tmp_path)
    new = {"BRIDGE_QUEUE": "celeryev.other", "BRIDGE_QUEUE_TTL": "30"}
    before = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_PREFETCH="50").await_ready()
    load = Load(broker_url, 1000)
    load.start()
    until(lambda: store.count() > 500, 20, "events are stored")
    store.stop()  # so that some wait, and some are in overflow
    oracle.publish(broker_url, [oracle.captured()[0]._replace(properties={"content_type": "application/x-yaml"})])
    until(lambda: oracle.depth(broker_url, "celeryev.bridge.overflow") > 300, 30, "messages are in overflow")
    store.start()
    refused = queues(broker_url, "migrate", "--from", "celeryev.bridge", "--wait", "0", **new)
    assert 1 == refused.returncode
    assert "stop the bridges that consume them" in refused.stderr
    after = start_bridge(**store.settings, **new, BRIDGE_BROKER_URL=broker_url).await_ready()
    assert 0 == before.stop()
    done = queues(broker_url, "migrate", "--from", "celeryev.bridge", "--wait", "30", **new)
    assert (0, "") == (done.returncode, done.stderr)
    assert not any(exists(broker_url, name) for name in QUEUES)
    published = load.finish()
    await_stored(store, published, 60)
    assert 0 == after.stop()
    assert set(published) == set(store.bodies())
    assert 1 == len(oracle.drain(broker_url, "celeryev.other.rejected"))


def test_a_wrong_migration_changes_nothing(broker_url: str) -> None:
    """To the same name, or from a queue that is not there: one line."""
    same = queues(broker_url, "migrate", "--from", "celeryev.bridge")
    assert 2 == same.returncode
    assert "BRIDGE_QUEUE has to name another queue" in same.stderr
    missing = queues(broker_url, "migrate", "--from", "nothing", BRIDGE_QUEUE="celeryev.other")
    assert 1 == missing.returncode
    assert "there is no queue nothing" in missing.stderr
    assert not exists(broker_url, "celeryev.other")
