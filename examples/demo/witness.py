"""What was published: a queue of its own beside the bridge's, read with a plain AMQP client."""

from __future__ import annotations

from collections import Counter

from tests.support import oracle

QUEUE = "demo.witness"
LIVE, OVERFLOW = "celeryev.bridge", "celeryev.bridge.overflow"


class Witness:
    """Bound to Celery's event exchange before anybody publishes."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._connection = oracle.broker(broker_url)
        self._channel = self._connection.channel()
        self._channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        self._channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        self._channel.queue_bind(QUEUE, "celeryev", routing_key="#")

    def messages(self) -> int:
        """How many it holds."""
        return int(self._channel.queue_declare(QUEUE, passive=True).message_count)

    def waiting(self) -> int:
        """How many wait in the bridge's live queue and in overflow, which are there once a bridge is ready."""
        return int(self._channel.queue_declare(LIVE, passive=True).message_count) + self.overflowing()

    def overflowing(self) -> int:
        """How many of them wait in overflow."""
        return int(self._channel.queue_declare(OVERFLOW, passive=True).message_count)

    def events(self) -> Counter[bytes]:
        """The bytes of every event that was published, with how often it was. Empties the queue."""
        found: Counter[bytes] = Counter()
        for message in oracle.drain(self._url, QUEUE):
            found.update(oracle.events_of(oracle.Published(bytes(message.body), message.properties, "")))
        return found
