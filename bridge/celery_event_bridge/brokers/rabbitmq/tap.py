"""Look at the live events: by a temporary queue beside the bridge's, so that nothing is taken away from anybody.

Each of Celery's own receivers has one. It is gone with the connection, and bounded: who looks too slowly misses some.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from amqp.exceptions import NotFound

from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect_to_any, translated
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.lane import as_message
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

MOST_BYTES = 64 * 2**20
"""Bound of the queue; past it the oldest are dropped."""
LIVES = 30_000
"""Milliseconds that an event waits there at most."""


class Tap:
    """A connection of its own. Each call raises BrokerUnavailable."""

    def __init__(self, settings: Settings) -> None:
        """Connect to the first URL that answers, and bind a queue to the event exchange."""
        self._exchange = settings.event_exchange
        self._arrived: list[Delivered] = []
        self._connection, _ = connect_to_any(settings, role="tap")
        try:
            with translated("looking at the events"):
                self._consume(self._connection.channel())
        except BaseException:
            abandon(self._connection)
            raise

    def messages(self, timeout: float) -> Sequence[Delivered]:
        """Return those that have arrived; wait up to so many seconds while there are none."""
        with translated("connection lost"):
            self._connection.heartbeat_tick()
            try:
                self._connection.drain_events(timeout=timeout)
            except TimeoutError:
                pass
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        """Disconnect; the queue goes with it. Never raises."""
        abandon(self._connection)

    def _consume(self, channel: amqp.Channel) -> None:
        exchange = self._exchange
        try:
            channel.exchange_declare(exchange, "topic", passive=True)
        except NotFound:
            raise BrokerUnavailable(
                f"exchange {exchange!r} is not there yet: a worker, or `queues declare`, makes it; or is "
                "BRIDGE_EVENT_EXCHANGE not what Celery's event_exchange says?"
            ) from None
        channel.auto_decode = False
        name = f"{exchange}.tap.{uuid.uuid4().hex[:12]}"
        arguments = {"x-max-length-bytes": MOST_BYTES, "x-overflow": "drop-head", "x-message-ttl": LIVES}
        channel.queue_declare(name, exclusive=True, durable=False, auto_delete=True, arguments=arguments)
        channel.queue_bind(name, exchange, routing_key="#")
        channel.basic_consume(name, no_ack=True, callback=self._deliver)

    def _deliver(self, received: Any) -> None:
        self._arrived.append(as_message(received, None, expired=False))
