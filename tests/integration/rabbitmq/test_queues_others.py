"""`queues remove` and `queues migrate` while somebody else has hands, policies and bindings on the queues."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.migration import migrate
from celery_event_bridge.brokers.rabbitmq.operations import connected
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker_plugin import QueuesInUse
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

pytestmark = [pytest.mark.fault]

LIVE = "celeryev.bridge"
SAMPLED = 4.0
"""Seconds; the server of these tests counts each second, and tells a second later."""


@pytest.fixture
def hold() -> Iterator[Callable[..., amqp.Channel]]:
    """Publish messages into a queue and take them, without acknowledging, as a person with a script does."""
    connections = []

    def taken(url: str, queue: str, count: int) -> amqp.Channel:
        connection = oracle.broker(url)
        connections.append(connection)
        channel = connection.channel()
        channel.confirm_select()
        for number in range(count):
            message = amqp.Message(b'{"type":"task-sent","uuid":"%d"}' % number, content_type="application/json")
            channel.basic_publish_confirm(message, "", queue)
        for _ in range(count):
            assert channel.basic_get(queue) is not None
        return channel

    yield taken
    for connection in connections:
        connection.close()


def given(url: str, kind: str = "classic", **more: object) -> tuple[Settings, Topology]:
    settings = Settings(broker_url=url, queue_type=kind, **more)  # type: ignore[arg-type]
    return settings, Topology.from_settings(settings)


def declare(url: str, topology: Topology) -> None:
    with closing(oracle.broker(url)) as connection:
        topology.declare(connection.channel())


@pytest.mark.parametrize("queue", [LIVE, f"{LIVE}.rejected"])
def test_what_somebody_has_in_hand_is_not_removed(
    managed_rabbitmq: NativeRabbitMQ, hold: Callable[..., amqp.Channel], queue: str
) -> None:
    """A classic queue shows it to the management API alone, and both commands go by that."""
    url = managed_rabbitmq.new_vhost()
    settings, topology = given(url, queue_ttl=600, management_url=managed_rabbitmq.management_url)
    declare(url, topology)
    channel = hold(url, queue, 3)
    management = Management(settings)
    until(lambda: (management.queue(queue) or {}).get("messages_unacknowledged") == 3, 30, "the API has counted them")
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    said: list[str] = []
    with connected(settings) as broker:
        with pytest.raises(QueuesInUse, match=f"in somebody's hand.*3 of queue {queue}"):
            broker.remove(topology, said.append, sampled_within=SAMPLED)
        with pytest.raises(QueuesInUse, match=f"in somebody's hand.*3 of queue {queue}"):
            migrate(broker, topology, new, 1.0, said.append, sampled_within=SAMPLED)
        channel.close()
        until(lambda: oracle.depth(url, queue) == 3, 10, "they are given back")
        assert 3 == migrate(broker, topology, new, 30.0, said.append, sampled_within=SAMPLED)
    assert 3 == oracle.depth(url, queue.replace(LIVE, "celeryev.other"))


def test_what_nobody_can_see_is_not_removed(broker_url: str, hold: Callable[..., amqp.Channel]) -> None:
    """Without the management API a classic queue is emptied, and removed with --force alone; it says so."""
    settings, topology = given(broker_url, queue_ttl=600)
    declare(broker_url, topology)
    channel = hold(broker_url, LIVE, 3)
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    said: list[str] = []
    with connected(settings) as broker:
        with pytest.raises(QueuesInUse, match=r"AMQP does not show.*BRIDGE_MANAGEMENT_URL.*--force"):
            broker.remove(topology, said.append)
        with pytest.raises(QueuesInUse, match=r"AMQP does not show.*BRIDGE_MANAGEMENT_URL.*--force"):
            migrate(broker, topology, new, 30.0, said.append)
        channel.close()
        until(lambda: oracle.depth(broker_url, LIVE) == 3, 10, "they are given back")
        with pytest.raises(QueuesInUse, match="AMQP does not show"):
            migrate(broker, topology, new, 30.0, said.append)
        assert "3 messages moved" in said
        assert 3 == len(broker.remove(topology, said.append, force=True))


def test_a_quorum_queue_shows_who_has_messages_in_hand(broker_url: str, hold: Callable[..., amqp.Channel]) -> None:
    """As a consumer, over AMQP: it is not removed."""
    settings, topology = given(broker_url, "quorum")
    declare(broker_url, topology)
    hold(broker_url, f"{LIVE}.rejected", 1)
    with connected(settings) as broker, pytest.raises(QueuesInUse, match=r"rejected has 1 consumer"):
        broker.remove(topology, lambda _: None)


def test_nothing_is_moved_under_a_policy_that_the_api_shows(managed_rabbitmq: NativeRabbitMQ) -> None:
    """It is refused before anything is moved or bound."""
    url = managed_rabbitmq.new_vhost()
    settings, topology = given(url, "quorum", queue_ttl=600, management_url=managed_rabbitmq.management_url)
    declare(url, topology)
    bounded(managed_rabbitmq, url, 10)
    oracle.publish(url, oracle.numbered(0, 60))
    until(lambda: oracle.depth(url, LIVE) == 60, 10, "all are there")
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    with connected(settings) as broker, pytest.raises(QueuesInUse, match="has max-length=10 by policy 'lim'"):
        migrate(broker, topology, new, 30.0, lambda _: None)
    oracle.publish(url, oracle.numbered(60, 1))
    until(lambda: oracle.depth(url, LIVE) == 61, 10, "the old queue is bound still")
    assert 0 == oracle.depth(url, "celeryev.other")


@pytest.mark.parametrize(("bound", "lost"), [(10, 0), (250, 150)])
def test_a_migration_stops_where_the_new_queue_drops(own_rabbitmq: RabbitMQ, bound: int, lost: int) -> None:
    """Without the API, after the batch that is not there though it was confirmed; it says how many are lost."""
    url = own_rabbitmq.new_vhost()
    settings, topology = given(url, "quorum", queue_ttl=0)
    declare(url, topology)
    bounded(own_rabbitmq, url, bound)
    oracle.publish(url, oracle.numbered(0, 600))
    until(lambda: oracle.depth(url, LIVE) == 600, 10, "all are there")
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    with (
        connected(settings) as broker,
        pytest.raises(QueuesInUse, match=rf"does not keep what it confirms.*: {lost} are lost"),
    ):
        migrate(broker, topology, new, 30.0, lambda _: None)
    until(lambda: oracle.depth(url, LIVE) == 600 - (200 if lost else 0), 10, "the others are there still")
    bodies = {bytes(each.body) for name in (LIVE, "celeryev.other") for each in oracle.drain(url, name)}
    assert 600 - lost == len(bodies)


def bounded(server: RabbitMQ, url: str, messages: int) -> None:
    policy = json.dumps({"max-length": messages, "overflow": "drop-head"})
    server.ctl("set_policy", "-p", urlsplit(url).path[1:], "lim", r"^celeryev\.other$", policy, "--apply-to", "queues")


def test_bindings_of_an_operator_are_carried_over(managed_rabbitmq: NativeRabbitMQ) -> None:
    """The new queue is bound as the old one was, with key and arguments, and it is said; ours are not doubled."""
    url = managed_rabbitmq.new_vhost()
    settings, topology = given(url, "quorum", management_url=managed_rabbitmq.management_url)
    said: list[str] = []
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    with closing(oracle.broker(url)) as connection, connected(settings) as broker:
        broker.declare(topology)
        channel = connection.channel()
        channel.exchange_declare("celeryev2", "topic", durable=True, auto_delete=False)
        channel.queue_bind(LIVE, "celeryev2", routing_key="worker.#", arguments={"by": "an operator", "n": 1})
        migrate(broker, topology, new, 30.0, said.append, sampled_within=SAMPLED)
        channel.confirm_select()
        channel.basic_publish_confirm(amqp.Message(b"{}"), "celeryev2", "worker.heartbeat")
        until(lambda: oracle.depth(url, "celeryev.other") == 1, 10, "it comes through the binding")
        carried = [line for line in said if "bound as" in line]
        assert ["celeryev2"] == [line.partition("exchange ")[2].partition(",")[0] for line in carried]


def test_bindings_that_cannot_be_seen_are_named(broker_url: str) -> None:
    """Without the API the migration says that they are not carried over."""
    settings, topology = given(broker_url)
    declare(broker_url, topology)
    said: list[str] = []
    new = Topology.from_settings(settings.model_copy(update={"queue": "celeryev.other"}))
    with connected(settings) as broker, pytest.raises(QueuesInUse):
        migrate(broker, topology, new, 30.0, said.append)
    assert 1 == sum("are not carried over" in line for line in said)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_parked_messages_in_somebodys_hand_are_told_of(
    managed_rabbitmq: NativeRabbitMQ, hold: Callable[..., amqp.Channel], kind: str
) -> None:
    """With their number by the API; without it a quorum queue shows that there are some, and a classic one nothing."""
    url = managed_rabbitmq.new_vhost()
    given_all = {"BRIDGE_BROKER_URL": url, "BRIDGE_QUEUE_TYPE": kind}
    settings, topology = given(url, kind, management_url=managed_rabbitmq.management_url)
    declare(url, topology)
    seen = {"BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url}
    if kind == "quorum":
        assert "" == rejected("list", **given_all).stderr
    hold(url, f"{LIVE}.rejected", 3)
    unseen = (
        "consumers: how many messages"
        if kind == "quorum"
        else "in somebody's hand cannot be seen without BRIDGE_MANAGEMENT_URL"
    )
    for command in (("list",), ("requeue", "--all"), ("purge", "--all", "--yes")):
        assert unseen in rejected(*command, **given_all).stderr
    management = Management(settings)
    counted = lambda: (management.queue(f"{LIVE}.rejected") or {}).get("messages_unacknowledged") == 3  # noqa: E731
    until(counted, 30, "the API has counted them")
    done = rejected("purge", "--all", "--yes", **given_all, **seen)
    assert (0, "nothing is parked\n") == (done.returncode, done.stdout)
    assert "3 messages of queue celeryev.bridge.rejected are in somebody's hand" in done.stderr


def rejected(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "rejected", *arguments, **settings)
