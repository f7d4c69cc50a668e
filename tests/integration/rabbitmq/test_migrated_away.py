"""Bridge that runs with the old BRIDGE_QUEUE while `queues migrate` moves its queues to another one, and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.binding_watch import BindingWatch
from celery_event_bridge.brokers.rabbitmq.migration import migrate
from celery_event_bridge.brokers.rabbitmq.operations import connected
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.brokers.rabbitmq.upkeep import Upkeep
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support import oracle
from tests.support.others import LIVE, delete_and_declare_exchange, unbind
from tests.support.queueing import exists
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

pytestmark = [pytest.mark.fault]

NEW = "celeryev.other"
SAMPLED = 4.0
"""Seconds; the server of these tests counts each second, and tells a second later."""
Meanwhile = Callable[[amqp.Channel, Upkeep], None]


def told(kind: str) -> int:
    return notices.NOTICES.counts()[kind]


def look(_: amqp.Channel, upkeep: Upkeep) -> None:
    upkeep.look()


def nothing(_: amqp.Channel, __: Upkeep) -> None: ...


def delete_new(channel: amqp.Channel) -> None:
    channel.queue_delete(NEW)


@contextmanager
def migrated(node: NativeRabbitMQ, meanwhile: Meanwhile = nothing) -> Iterator[tuple[str, amqp.Connection, Upkeep]]:
    """The old bridge's upkeep after a migration, which waited for its consumer; `meanwhile` is done once before."""
    url = node.new_vhost()
    settings = Settings(broker_url=url, queue_ttl=600, management_url=node.management_url)
    old = Topology.from_settings(settings)
    new = Topology.from_settings(settings.model_copy(update={"queue": NEW}))
    upkeep = Upkeep(old, declares=True, find_route=BindingWatch(settings, old).route)
    with oracle.broker(url) as connection, connected(settings) as broker:
        upkeep.open(connection)
        consumer = connection.channel()
        consumer.basic_consume(old.live.name, consumer_tag="one", callback=lambda _: None, on_cancel=lambda _: None)

        def tell(line: str) -> None:
            if "(1 consumer," in line and consumer.is_open:
                meanwhile(connection.channel(), upkeep)
                consumer.close()

        migrate(broker, old, new, 60.0, tell, sampled_within=SAMPLED)
        yield url, connection, upkeep


def test_a_migration_is_no_gap_of_the_bridge_that_it_takes_the_queue_from(managed_rabbitmq: NativeRabbitMQ) -> None:
    """While it waits and when it is done: the new queue was bound all the time. The bridge says what to do."""
    with migrated(managed_rabbitmq, look) as (url, connection, upkeep):
        assert 1 == told("moved")
        with pytest.raises(BrokerUnavailable):
            upkeep.look()
        upkeep.drop()
        upkeep.open(connection)
        assert 2 == told("moved")
        assert 0 == told("gap") == told("queue-made")
        assert exists(url, LIVE)
        upkeep.look()
        assert 2 == told("moved")
        assert 0 == told("gap") == told("queue-made")


def test_the_bridge_binds_its_queue_again(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Events come to both queues then: who gives up a migration has bridges that store."""

    def look_and_publish(channel: amqp.Channel, upkeep: Upkeep) -> None:
        upkeep.look()
        channel.basic_publish(amqp.Message(b"{}"), exchange="celeryev", routing_key="task.sent")

    with migrated(managed_rabbitmq, look_and_publish) as (url, _, __):
        # The one of the old queue was moved.
        until(lambda: oracle.depth(url, NEW) == 2, 10, "it is in the new queue twice")


def test_what_a_migration_does_not_explain_is_told_of(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Where the new queue was not bound either, while the migration waits."""

    def unbind_new_and_look(channel: amqp.Channel, upkeep: Upkeep) -> None:
        channel.queue_unbind(NEW, "celeryev", "#")
        upkeep.look()

    with migrated(managed_rabbitmq, unbind_new_and_look):
        assert 1 == told("gap")


@pytest.mark.parametrize("change", [delete_new, delete_and_declare_exchange])
def test_what_came_after_a_migration_and_undoes_it_is_told_of(
    managed_rabbitmq: NativeRabbitMQ, change: Callable[[amqp.Channel], None]
) -> None:
    """With the new queue, or its binding, events are gone, and nobody else may look."""
    with migrated(managed_rabbitmq) as (_, connection, upkeep):
        change(connection.channel())
        upkeep.open(connection)
        assert 1 == told("gap")
        assert 0 == told("moved")


def test_a_queue_that_was_declared_anew_after_a_migration_is_one_like_others(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Whoever deletes it then has not moved what it held."""
    with migrated(managed_rabbitmq) as (_, connection, upkeep):
        upkeep.open(connection)
        assert (1, 0) == (told("moved"), told("gap"))
        connection.channel().queue_delete(LIVE)
        upkeep.open(connection)
        assert (1, 1) == (told("moved"), told("gap"))


def test_a_queue_that_is_deleted_while_it_is_moved_is_told_of(managed_rabbitmq: NativeRabbitMQ) -> None:
    """A migration that was given up has left its marks, and removed nothing."""

    def delete_and_look(channel: amqp.Channel, upkeep: Upkeep) -> None:
        channel.queue_delete(LIVE)
        upkeep.drop()
        upkeep.open(channel.connection)

    with migrated(managed_rabbitmq, delete_and_look):
        assert 1 == told("gap") == told("queue-made")


def test_a_migration_back_leaves_no_mark_of_the_one_before(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Else a bridge of the queue that is in use again would take what others do to it for the migration's."""
    with migrated(managed_rabbitmq) as (url, connection, upkeep):
        settings = Settings(broker_url=url, queue_ttl=600, management_url=managed_rabbitmq.management_url)
        old = Topology.from_settings(settings)
        new = Topology.from_settings(settings.model_copy(update={"queue": NEW}))
        with connected(settings) as broker:
            migrate(broker, new, old, 60.0, print, sampled_within=SAMPLED)
        upkeep.open(connection)
        unbind(connection.channel())
        upkeep.look()
        assert (0, 1) == (told("moved"), told("gap"))
