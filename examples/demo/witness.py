"""What was published, as a plain client beside the bridges sees it: a queue of its own, or a subscription."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError

from tests.support import oracle

QUEUE = "demo.witness"
LIVE, OVERFLOW = "celeryev.bridge", "celeryev.bridge.overflow"


class Watching(Protocol):
    """What the demo asks of a witness, on whatever broker."""

    def messages(self) -> int:
        """How many it holds."""

    def waiting(self) -> int:
        """How many wait in the broker for a bridge."""

    def overflowing(self) -> int:
        """How many of them wait in overflow."""

    def events(self) -> Counter[bytes]:
        """The bytes of every event that was published, with how often it was. It ends with that."""


class Witness:
    """On RabbitMQ: a queue, bound to Celery's event exchange before anybody publishes."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._connection = oracle.broker(broker_url)
        self._channel = self._connection.channel()
        self._channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        self._channel.queue_declare(QUEUE, durable=True, auto_delete=False)
        self._channel.queue_bind(QUEUE, "celeryev", routing_key="#")

    def messages(self) -> int:
        return int(self._channel.queue_declare(QUEUE, passive=True).message_count)

    def waiting(self) -> int:
        """In the bridge's live queue and in overflow, which are there once a bridge is ready."""
        return int(self._channel.queue_declare(LIVE, passive=True).message_count) + self.overflowing()

    def overflowing(self) -> int:
        return int(self._channel.queue_declare(OVERFLOW, passive=True).message_count)

    def events(self) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for message in oracle.drain(self._url, QUEUE):
            found.update(oracle.events_of(oracle.Published(bytes(message.body), message.properties, "")))
        return found


class Subscriber(threading.Thread):
    """On Redis: a subscriber as Celery's own receivers are, that keeps each body. It listens once it is made."""

    def __init__(self, broker_url: str, channel: str = "/0.celeryev/*") -> None:
        super().__init__(daemon=True)
        self._client = Redis.from_url(broker_url)
        self._receiver = self._client.pubsub()
        self._receiver.psubscribe(channel)
        assert self._receiver.get_message(timeout=10)
        self._over = threading.Event()
        self._error: RedisError | None = None
        self.heard: list[bytes] = []
        self.start()

    def run(self) -> None:
        try:
            while True:
                if message := self._receiver.get_message(timeout=0.2):
                    self.heard.append(base64.b64decode(json.loads(message["data"])["body"]))
                elif self._over.is_set():  # and nothing has come since
                    return
        except RedisError as exc:
            self._error = exc

    def messages(self) -> int:
        return len(self.heard)

    def waiting(self) -> int:
        """None: Redis keeps no event."""
        return 0

    def overflowing(self) -> int:
        return 0

    def events(self) -> Counter[bytes]:
        self._over.set()
        self.join(30)
        self._receiver.close()
        self._client.close()
        if self._error is not None or self.is_alive():
            raise RuntimeError(f"the witness does not hear all: {self._error or 'it hangs'}")
        found: Counter[bytes] = Counter()
        for body in self.heard:
            found.update(oracle.events_of(oracle.Published(body, {}, "")))
        return found
