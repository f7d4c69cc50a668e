"""`queues remove` and `queues migrate`: under load without loss, by what is left, and without anybody's messages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.bridges import Bridge, clean_environment, run_to_end
from tests.support.load import Load
from tests.support.queueing import QUEUES, exists, expire_without_a_target, is_bound, queues
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import FULL, SqliteStore, at_full_length, await_stored


def test_remove(start_bridge: Callable[..., Bridge], managed_rabbitmq: NativeRabbitMQ, tmp_path: Path) -> None:
    """Refused while a bridge consumes or messages wait, in one line; else all are gone, and again is no error."""
    broker_url = managed_rabbitmq.new_vhost()
    bridge = start_bridge(**SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    until(lambda: "1 consumer" in queues(broker_url, "show").stdout, 20, "the consumer is seen")
    done = queues(broker_url, "remove")
    assert 1 == done.returncode
    assert "stop the bridges first" in done.stderr
    assert 0 == bridge.stop()
    oracle.publish(broker_url, oracle.numbered(0, 3))
    until(lambda: "holds" in queues(broker_url, "remove").stderr, 20, "the messages are seen")
    assert all(exists(broker_url, name) for name in QUEUES)
    assert 0 == queues(broker_url, "remove", "--force").returncode
    assert 0 == queues(broker_url, "declare").returncode
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    assert 0 == queues(broker_url, "remove", **seen).returncode
    assert not any(exists(broker_url, name) for name in QUEUES)
    again = queues(broker_url, "remove")
    assert 0 == again.returncode
    assert again.stdout.startswith("nothing to remove: there is no queue ")


@pytest.mark.fault
def test_migrate_under_load(
    start_bridge: Callable[..., Bridge], managed_rabbitmq: NativeRabbitMQ, tmp_path: Path
) -> None:
    """To another TTL while events are published and bridges of both settings run: nothing is lost, the old are gone."""
    broker_url = managed_rabbitmq.new_vhost()
    store = SqliteStore(tmp_path)
    new = {"BRIDGE_QUEUE": "celeryev.other", "BRIDGE_QUEUE_TTL": "30"}
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
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
    done = queues(broker_url, "migrate", "--from", "celeryev.bridge", "--wait", "120", **new, **seen)
    assert (0, "") == (done.returncode, done.stderr)
    assert not any(exists(broker_url, name) for name in QUEUES)
    published = load.finish()
    await_stored(store, published, 60)
    assert 0 == after.stop()
    assert set(published) == set(store.bodies())
    assert 1 == len(oracle.drain(broker_url, "celeryev.other.rejected"))


@pytest.mark.fault
def test_what_waits_for_its_dead_letter_route_is_not_removed(managed_rabbitmq: NativeRabbitMQ) -> None:
    """It is neither ready nor in anybody's hand: the management API shows it, and `remove` refuses."""
    url = managed_rabbitmq.new_vhost()
    expire_without_a_target(url, 50)
    done = queues(url, "remove", BRIDGE_MANAGEMENT_URL=managed_rabbitmq.management_url)
    assert 1 == done.returncode
    assert "holds 50 messages that wait for their dead-letter route" in done.stderr
    assert all(exists(url, name) for name in QUEUES)


@pytest.mark.fault
@pytest.mark.timeout(800)
@pytest.mark.parametrize("seen", [False, pytest.param(True, marks=at_full_length)])
def test_what_waits_for_its_dead_letter_route_is_migrated_too(managed_rabbitmq: NativeRabbitMQ, seen: bool) -> None:
    """Where it cannot be seen, nothing is removed before RabbitMQ has certainly tried again."""
    url = managed_rabbitmq.new_vhost()
    bodies = expire_without_a_target(url, 50)
    new = {"BRIDGE_QUEUE": "celeryev.other"}
    api = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url} if seen else {}
    done = queues(url, "migrate", "--from", "celeryev.bridge", "--wait", "2", **new, **api)
    assert 1 == done.returncode
    assert "may hold back messages for their dead-letter route" in done.stderr
    too_short = "--wait 2 is too short to end: without BRIDGE_MANAGEMENT_URL"
    assert seen != any(line.startswith(too_short) for line in done.stdout.splitlines()[:5])
    assert all(exists(url, name) for name in QUEUES)
    if not FULL:
        return
    done = run_to_end(
        *("celery_event_bridge", "queues", "migrate", "--from", "celeryev.bridge", "--wait", "250"),
        timeout=300,
        BRIDGE_BROKER_URL=url,
        **new,
        **api,
    )
    assert 0 == done.returncode, done.stderr
    moved = [bytes(each.body) for each in oracle.drain(url, "celeryev.other.overflow")]
    assert set(bodies) == set(moved)


def test_no_more_is_moved_than_fits(managed_rabbitmq: NativeRabbitMQ) -> None:
    """A smaller bound drops nothing: the rest stays where it is, and is moved once there is room."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    assert 0 == queues(url, "declare").returncode
    messages = oracle.numbered(0, 3000)
    oracle.publish(url, messages)
    until(lambda: oracle.depth(url, "celeryev.bridge.overflow") == 3000, 20, "all are in overflow")
    new = {"BRIDGE_QUEUE": "celeryev.other", "BRIDGE_OVERFLOW_MAX_BYTES": "500kB"}
    done = queues(url, "migrate", "--from", "celeryev.bridge", "--wait", "20", **new, **seen)
    assert 1 == done.returncode
    assert "none was dropped" in done.stderr
    there, left = oracle.depth(url, "celeryev.other.overflow"), oracle.depth(url, "celeryev.bridge.overflow")
    assert there > 300
    assert 3000 == there + left
    drained = [bytes(each.body) for each in oracle.drain(url, "celeryev.other.overflow")]
    while left:
        done = queues(url, "migrate", "--from", "celeryev.bridge", "--wait", "20", **new, **seen)
        drained += [bytes(each.body) for each in oracle.drain(url, "celeryev.other.overflow")]
        left = oracle.depth(url, "celeryev.bridge.overflow") if exists(url, "celeryev.bridge.overflow") else 0
    assert 0 == done.returncode
    assert sorted(message.body for message in messages) == sorted(drained)


@pytest.mark.fault
def test_a_migration_is_judged_by_what_is_left_after_it(
    start_bridge: Callable[..., Bridge], managed_rabbitmq: NativeRabbitMQ, tmp_path: Path
) -> None:
    """All is moved, and the old bridge is stopped meanwhile: done, and it says what it waits for."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    store = SqliteStore(tmp_path)
    # One that lets go of what it holds consumes nothing meanwhile, and there is nothing to wait for.
    holding = {"BRIDGE_PREFETCH": "1", "BRIDGE_LET_GO_AFTER": "600"}
    old = start_bridge(**store.settings, BRIDGE_BROKER_URL=url, **holding).await_ready()
    store.stop()
    oracle.publish(url, oracle.numbered(0, 4000))
    command = [sys.executable, "-m", "celery_event_bridge", "queues", "migrate", "--from", "celeryev.bridge"]
    process = subprocess.Popen(
        [*command, "--wait", "150"],
        env=clean_environment() | {"BRIDGE_BROKER_URL": url, "BRIDGE_QUEUE": "celeryev.other"} | seen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "waiting for celeryev.bridge" in line:
            old.process.kill()
    assert 0 == process.wait(240), lines
    process.stdout.close()
    assert any("waiting for celeryev.bridge" in line for line in lines)
    assert any("messages moved" in line for line in lines)
    store.start()
    overflow = [bytes(each.body) for each in oracle.drain(url, "celeryev.other.overflow")]
    live = [bytes(each.body) for each in oracle.drain(url, "celeryev.other")]
    assert {message.body for message in oracle.numbered(0, 4000)} == {*overflow, *live}


@pytest.mark.fault
def test_a_migration_unbinds_what_others_bind_again(managed_rabbitmq: NativeRabbitMQ) -> None:
    """For as long as it waits: else the old queue would be filled for ever."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_BROKER_URL": url, "BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    topology = Topology.from_settings(Settings(broker_url=url))
    connection = oracle.broker(url)
    channel = connection.channel()
    topology.declare(channel)
    channel.basic_consume(topology.live.name, consumer_tag="one", callback=lambda _: None)
    process = subprocess.Popen(
        [sys.executable, "-m", "celery_event_bridge", "queues", "migrate", "--from", "celeryev.bridge", "--wait", "60"],
        env=clean_environment() | seen | {"BRIDGE_QUEUE": "celeryev.other"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "waiting for celeryev.bridge (1 consumer," in line and len(lines) < 5:
            topology.bind(channel)
            until(lambda: not is_bound(managed_rabbitmq, url), 20, "it is unbound again")
            channel.basic_cancel("one")
    assert 0 == process.wait(30), lines
    process.stdout.close()
    connection.close()
    assert not any(exists(url, name) for name in QUEUES)


def test_a_migration_takes_its_own_gets_for_nobodys(managed_rabbitmq: NativeRabbitMQ) -> None:
    """A quorum queue counts them as a consumer for a moment: without a bridge there is nobody to wait for."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    assert 0 == queues(url, "declare").returncode
    oracle.publish(url, oracle.numbered(0, 1000))
    until(lambda: oracle.depth(url, "celeryev.bridge.overflow") == 1000, 20, "all are in overflow")
    # The API counts them too, and late.
    done = queues(url, "migrate", "--from", "celeryev.bridge", "--wait", "50", BRIDGE_QUEUE="celeryev.other", **seen)
    assert (0, "") == (done.returncode, done.stderr)
    assert "consumers" not in done.stdout
    assert 1000 == oracle.depth(url, "celeryev.other.overflow")
    # The mark that `replay` asks for is bound to the new queue.
    assert "celeryev.bridged" in managed_rabbitmq.ctl("list_exchanges", "-p", urlsplit(url).path[1:], "name")


def test_the_witnesses_go_last_and_need_no_right(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Both are gone after a removal; who may not delete them has removed the queues all the same."""
    for configure, left in ((".*", False), (r"^celeryev\.bridge(\.overflow|\.rejected)?$", True)):
        url = managed_rabbitmq.new_vhost()
        seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
        assert 0 == queues(url, "declare").returncode
        managed_rabbitmq.ctl("set_permissions", "-p", urlsplit(url).path[1:], "guest", configure, ".*", ".*")
        done = queues(url, "remove", **seen)
        assert (0, "") == (done.returncode, done.stderr)
        assert not any(exists(url, name) for name in QUEUES)
        listed = managed_rabbitmq.ctl("list_exchanges", "-p", urlsplit(url).path[1:], "name").splitlines()
        assert left == ("celeryev.bridge.witness" in listed)
        assert "celeryev.bridge.witness.queue" not in listed
        assert "celeryev.bridged" not in listed


def test_a_replay_names_the_queues_of_bridges_that_are_bound(
    managed_rabbitmq: NativeRabbitMQ, start_bridge: Callable[..., Bridge], tmp_path: Path
) -> None:
    """By the management API: those of bridges that declare nothing, and not one of ours that is not bound there."""
    url = managed_rabbitmq.new_vhost()
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    store = SqliteStore(tmp_path)
    topology = Topology.from_settings(Settings(broker_url=url, queue="not.ours"))
    with oracle.broker(url) as connection:
        topology.declare(connection.channel())
        bridge = start_bridge(
            **store.settings, BRIDGE_BROKER_URL=url, BRIDGE_QUEUE=topology.live.name, BRIDGE_DECLARE="false"
        )
        bridge.await_ready()
        oracle.publish(url, oracle.numbered(0, 3))
        until(lambda: store.count() == 3, 20, "all is stored")
        arguments = ("celery_event_bridge", "replay", "--from", f"sqlite:///{store.path}", "--to")
        # The API knows a consumer that is new a moment later; the queue for parking it knows at once.
        done = run_to_end(*arguments, url, BRIDGE_BROKER_URL=url, **seen)
        assert 2 == done.returncode
        assert "queue 'not.ours', bound to exchange celeryev of amqp://guest:**@" in done.stderr
        bridge.stop()
        connection.channel().queue_unbind(topology.live.name, topology.exchange, routing_key="#")
    done = run_to_end(*arguments, url, BRIDGE_BROKER_URL=url, BRIDGE_QUEUE=topology.live.name, **seen)
    assert (1, True) == (done.returncode, "no queue is bound there" in done.stdout + done.stderr), done.stderr
