"""`queues migrate` while somebody undoes its first half: what it has declared and bound is there when it ends."""

from __future__ import annotations

from collections.abc import Callable

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.migration import migrate
from celery_event_bridge.brokers.rabbitmq.operations import connected
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support import oracle
from tests.support.queueing import QUEUES, exists
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

pytestmark = [pytest.mark.fault]

NEW = "celeryev.other"
SAMPLED = 4.0
"""Seconds; the server of these tests counts each second, and tells a second later."""
Change = Callable[[amqp.Channel], None]


def unbind(channel: amqp.Channel) -> None:
    channel.queue_unbind(NEW, "celeryev", "#")


def replace_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)


def delete_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")


def delete(channel: amqp.Channel) -> None:
    channel.queue_delete(NEW)


def delete_overflow(channel: amqp.Channel) -> None:
    channel.queue_delete(f"{NEW}.overflow")


def replace(channel: amqp.Channel) -> None:
    channel.queue_delete(NEW)
    channel.queue_declare(NEW, durable=True, auto_delete=False, arguments={"x-max-length": 1})


def migrate_meanwhile(url: str, change: Change, management_url: str | None) -> list[str]:
    """Migrate; once it waits for a consumer of the old queue, change something and let that consumer go."""
    settings = Settings(broker_url=url, queue_ttl=600 if management_url else 0, management_url=management_url)
    old = Topology.from_settings(settings)
    new = Topology.from_settings(settings.model_copy(update={"queue": NEW}))
    said: list[str] = []
    with oracle.broker(url) as connection, connected(settings) as broker:
        broker.declare(old)
        consumer = connection.channel()
        consumer.basic_consume(old.live.name, consumer_tag="one", callback=lambda _: None)

        def tell(line: str) -> None:
            said.append(line)
            if "(1 consumer," in line and consumer.is_open:
                change(connection.channel())
                consumer.close()

        migrate(broker, old, new, 60.0, tell, sampled_within=SAMPLED)
    return said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (unbind, f"queue {NEW}: was unbound from exchange celeryev by somebody"),
        (replace_exchange, "exchange celeryev: was deleted and declared anew by somebody"),
        (delete_exchange, "exchange celeryev: was deleted by somebody"),
        (delete, f"queue {NEW}: was deleted by somebody"),
        (delete_overflow, f"queue {NEW}.overflow: was deleted by somebody"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_undone_meanwhile_is_done_again(managed_rabbitmq: NativeRabbitMQ, change: Change, said: str) -> None:
    """Events reach the new queue when the old ones are gone, and it is said once."""
    url = managed_rabbitmq.new_vhost()
    lines = migrate_meanwhile(url, change, managed_rabbitmq.management_url)
    assert 1 == sum(line.startswith(said) for line in lines), lines
    assert not any(exists(url, name) for name in QUEUES)
    assert all(exists(url, f"{NEW}{end}") for end in ("", ".overflow", ".rejected"))
    oracle.publish(url, oracle.numbered(0, 3))
    until(lambda: oracle.depth(url, NEW) == 3, 10, "the new queue gets them")


def test_a_binding_is_made_again_also_where_nobody_sees_it(managed_rabbitmq: NativeRabbitMQ) -> None:
    """Without the management API, before the old queues are removed."""
    url = managed_rabbitmq.new_vhost()
    migrate_meanwhile(url, unbind, None)
    oracle.publish(url, oracle.numbered(0, 3))
    until(lambda: oracle.depth(url, NEW) == 3, 10, "the new queue gets them")


def test_a_new_queue_of_somebodys_ends_it(managed_rabbitmq: NativeRabbitMQ) -> None:
    """With what differs; the old ones are not removed."""
    url = managed_rabbitmq.new_vhost()
    with pytest.raises(BrokerUnavailable, match=f"queue '{NEW}' exists with x-"):
        migrate_meanwhile(url, replace, managed_rabbitmq.management_url)
    assert all(exists(url, name) for name in QUEUES)
