"""`tap` while somebody deletes its queue, its binding or the exchange: it goes on looking, and says so."""

from __future__ import annotations

import logging
from contextlib import closing
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.tap import Tap
from tests.support import oracle
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ

pytestmark = [pytest.mark.fault]

LOOK = 4.0


def renew_exchange(channel: amqp.Channel, _queue: str) -> None:
    channel.exchange_delete("celeryev")
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)


def hears(tap: Tap, url: str) -> None:
    """It shows an event, of those that are published while it looks."""

    def heard() -> bool:
        oracle.publish(url, oracle.numbered(0, 1))
        return bool(tap.messages(0.2))

    until(heard, 30, "an event is shown")


def own_queue(node: NativeRabbitMQ, url: str) -> str:
    names = node.ctl("list_queues", "-p", urlsplit(url).path[1:], "name").split()
    (name,) = [name for name in names if ".tap." in name]
    return name


def declared(url: str) -> str:
    with oracle.broker(url) as connection:
        connection.channel().exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    return url


def test_an_exchange_that_is_made_anew_is_bound_again(
    managed_rabbitmq: NativeRabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the management API it is guessed, from a silence that ends with the binding."""
    caplog.set_level(logging.INFO, "celery_event_bridge")
    url = declared(managed_rabbitmq.new_vhost())
    with closing(Tap(Settings(broker_url=url), look=LOOK)) as tap, oracle.broker(url) as connection:
        hears(tap, url)
        for _ in range(2):  # the first time the look may come before the silence is one
            renew_exchange(connection.channel(), "")
            hears(tap, url)
    assert 1 == caplog.text.count("perhaps somebody had removed it, or made the exchange anew"), caplog.text


def test_with_the_management_api_a_removed_binding_is_known(
    managed_rabbitmq: NativeRabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    """It is made again, and told of once."""
    url = declared(managed_rabbitmq.new_vhost())
    settings = Settings(broker_url=url, management_url=managed_rabbitmq.management_url)
    with closing(Tap(settings, look=LOOK)) as tap, oracle.broker(url) as connection:
        hears(tap, url)
        renew_exchange(connection.channel(), "")
        hears(tap, url)
    assert 1 == caplog.text.count("to exchange 'celeryev' was gone, and is made again"), caplog.text


def test_a_deleted_exchange_is_waited_for(managed_rabbitmq: NativeRabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of once, and so is that events come again."""
    url = declared(managed_rabbitmq.new_vhost())
    with closing(Tap(Settings(broker_url=url), look=0.2)) as tap:
        hears(tap, url)
        with oracle.broker(url) as connection:
            connection.channel().exchange_delete("celeryev")
        until(lambda: tap.messages(0.2) or "exchange 'celeryev' was deleted" in caplog.text, 20, "it is told of")
        declared(url)
        hears(tap, url)
    assert 1 == caplog.text.count("exchange 'celeryev' was deleted: nothing comes until a worker")
    assert 1 == caplog.text.count("was gone, and is made again")


@pytest.mark.parametrize("exchange_too", [False, True])
def test_a_deleted_queue_is_replaced(
    managed_rabbitmq: NativeRabbitMQ, caplog: pytest.LogCaptureFixture, exchange_too: bool
) -> None:
    """By another one, at once, or when the exchange is there again; and it is told of by its name."""
    url = declared(managed_rabbitmq.new_vhost())
    with closing(Tap(Settings(broker_url=url), look=LOOK)) as tap:
        hears(tap, url)
        name = own_queue(managed_rabbitmq, url)
        if exchange_too:
            with oracle.broker(url) as connection:
                connection.channel().exchange_delete("celeryev")
        managed_rabbitmq.ctl("delete_queue", "-p", urlsplit(url).path[1:], name)
        if exchange_too:
            until(lambda: tap.messages(0.2) or "exchange 'celeryev' was deleted" in caplog.text, 20, "it is told of")
            declared(url)
        hears(tap, url)
        assert name != own_queue(managed_rabbitmq, url)
    assert 1 == caplog.text.count(f"queue {name!r}, by which `tap` looks, was deleted by somebody")
