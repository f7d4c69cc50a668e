"""`queues`: declared for bridges that may not, shown, and left alone where a migration is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import amqp

from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.queueing import QUEUES, exists, queues, shown
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore


def test_declared_for_a_bridge_that_declares_nothing(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """With BRIDGE_DECLARE=false a bridge says what is missing; once `queues declare` has run, it forwards."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_DECLARE="false")
    bridge.await_log("unavailable")
    assert "declare it, `celery-event-bridge queues declare` does" in bridge.logged("unavailable")[0]["reason"]
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
    # Those that have expired meanwhile are in overflow.
    until(lambda: 3 == sum(shown(broker_url, "messages").values()), 20, "all of them are shown")
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


def test_a_wrong_migration_changes_nothing(broker_url: str) -> None:
    """To the same name, or from a queue that is not there: one line."""
    same = queues(broker_url, "migrate", "--from", "celeryev.bridge")
    assert 2 == same.returncode
    assert "BRIDGE_QUEUE has to name another queue" in same.stderr
    missing = queues(broker_url, "migrate", "--from", "nothing", BRIDGE_QUEUE="celeryev.other")
    assert 1 == missing.returncode
    assert "there is no queue nothing" in missing.stderr
    assert not exists(broker_url, "celeryev.other")
    # Somebody's queue of tasks is none of a bridge's.
    connection = oracle.broker(broker_url)
    channel = connection.channel()
    channel.queue_declare("celery", durable=True, auto_delete=False)
    channel.basic_publish(amqp.Message(b"a task"), "", "celery")
    tasks = queues(broker_url, "migrate", "--from", "celery", BRIDGE_QUEUE="celeryev.other")
    assert 1 == tasks.returncode
    assert "queue celery is none of a bridge's" in tasks.stderr
    until(lambda: oracle.depth(broker_url, "celery") == 1, 10, "the task is there still")
    connection.close()


def test_a_migration_that_was_killed_between_two_removals_is_ended_by_the_next(broker_url: str) -> None:
    """The live queue goes first: without it the others are moved and removed still."""
    assert 0 == queues(broker_url, "declare").returncode
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        for name in QUEUES[1:]:
            channel.basic_publish(amqp.Message(b"left in " + name.encode()), "", name)
            until(lambda name=name: oracle.depth(broker_url, name) == 1, 10, "it is there")  # type: ignore[misc]
        channel.queue_delete("celeryev.bridge")
    done = queues(broker_url, "migrate", "--from", "celeryev.bridge", BRIDGE_QUEUE="celeryev.other")
    assert (0, "") == (done.returncode, done.stderr)
    assert "2 messages moved" in done.stdout
    assert not any(exists(broker_url, name) for name in QUEUES)
    assert [1, 1] == [oracle.depth(broker_url, f"celeryev.other.{end}") for end in ("overflow", "rejected")]
