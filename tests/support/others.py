"""What others do on RabbitMQ to a bridge's exchange, binding and queue."""

from __future__ import annotations

import amqp

from tests.support import oracle

LIVE = "celeryev.bridge"
SOON = 15.0
"""Seconds after which a gap has to be closed: the look comes every ten."""


def delete_and_declare_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)


def delete_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")


def unbind(channel: amqp.Channel) -> None:
    channel.queue_unbind(LIVE, "celeryev", "#")


def publish_if_there(url: str, number: int) -> None:
    """One event; where the exchange is gone it is lost, as a worker's would be."""
    connection = oracle.broker(url)
    try:
        confirms = oracle.Confirms(connection.channel())
        confirms.publish(oracle.numbered(number, 1))
        confirms.wait()
    except amqp.NotFound:
        return
    finally:
        connection.close()
