"""The source alone, against a broker."""

from __future__ import annotations

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.servers.debian import until


def test_a_consumer_that_the_broker_has_forgotten_is_made_anew(broker_url: str) -> None:
    """Its queue was deleted and declared again by somebody else, and no word of that came: it receives within 15 s."""
    settings = Settings(broker_url=broker_url)
    topology = Topology.from_settings(settings)
    source = AmqpSource(settings, topology)
    source.open()
    source.consume()
    for lane in source._lanes:
        # As if `basic.cancel` had never been sent.
        channel = lane._channel
        channel.cancel_callbacks.update(dict.fromkeys(channel.callbacks, lambda _tag: None))
    connection = oracle.broker(broker_url)
    connection.channel().queue_delete(topology.live.name)
    topology.declare(connection.channel())
    connection.close()

    def arrives() -> bool:
        # Anew each time: what was not taken in 5 s arrives from overflow.
        oracle.publish(broker_url, oracle.numbered(0, 1))
        source.steer(0, lambda: 0)
        return any(not message.expired for message in source.poll(0.5))

    until(arrives, 15, "a fresh message arrives")
    source.close()
