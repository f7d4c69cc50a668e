"""Moving messages from one queue to another, without loss, and no more of them than fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.destination import Destination
from celery_event_bridge.brokers.rabbitmq.headers import RENAMED, again, without_brokers_own
from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec

if TYPE_CHECKING:
    import amqp

BATCH = 200
"""Messages that are moved between two waits for their confirms."""
OVERHEAD = 300
"""Bytes that a message may count in a queue beside its body: newer versions count headers and properties too."""


class QueueFull(Exception):
    """A queue has no room for more, or does not keep what it confirms. The text says what to do."""


class Mover:
    """Moves from one queue to another, and remembers across calls what it has put there."""

    def __init__(self, connection: amqp.Connection, source: str, target: QueueSpec, beside: Sequence[str] = ()) -> None:
        """Begin; what leaves the target by itself is in the queues `beside` it."""
        self._connection = connection
        self._source = source
        self._target = target
        self._destination = Destination(connection, target.name, beside)
        self._bound = int(target.arguments["x-max-length-bytes"])
        self._bytes = 0
        self.moved = 0
        """Messages so far."""

    def move(self) -> int:
        """Move all that is ready; returns how many. A message is acknowledged when the new queue has confirmed it.

        A crash doubles some. Raises QueueFull before a message that the target would make room for by dropping another
        one, since it confirms that one as well, and BrokerUnavailable.
        """
        before = self.moved
        with translated(f"moving {self._source} to {self._target.name}"):
            channel = self._connection.channel()
            channel.auto_decode = False
            confirms: Confirms[None] = Confirms(channel)
            while batch := self._take(channel):
                self._make_sure_that_it_fits(batch)
                before_it = self._destination.count()
                for message in batch:
                    confirms.publish(None, _again(message), self._target.name)
                confirms.wait(self._target.name)
                self._make_sure_that_it_is_there(before_it, len(batch))
                channel.basic_ack(batch[-1].delivery_tag, True)  # noqa: FBT003 - AMQP's `multiple`
                self.moved += len(batch)
                self._bytes += _size(batch)
            channel.close()
        return self.moved - before

    def _make_sure_that_it_fits(self, batch: list[Any]) -> None:
        waiting = self._destination.depth()
        mean = self._bytes / self.moved if self.moved else _size(batch) / len(batch)
        if waiting * mean + _size(batch) > self._bound:
            raise QueueFull(
                f"queue {self._target.name} holds {waiting} messages and has room for {self._bound} bytes in all: "
                f"{self.moved} messages were moved, none was dropped, the others are in {self._source} still. Start "
                "bridges with the new settings, which drain it, or raise its bound, and say the same again"
            )

    def _make_sure_that_it_is_there(self, before: int | None, count: int) -> None:
        """Raise QueueFull if the target has dropped what it has confirmed, as a policy makes it do."""
        moved = f"{self.moved} messages were moved"
        if text := self._destination.why_not_kept(before, count, source=self._source, moved=moved):
            raise QueueFull(text)

    def _take(self, channel: amqp.Channel) -> list[Any]:
        batch: list[Any] = []
        size = 0
        while len(batch) < BATCH and size < self._bound // 20:
            message = channel.basic_get(self._source)
            if message is None:
                break
            batch.append(message)
            size += len(message.body)
        return batch


def _size(batch: list[Any]) -> int:
    return sum(len(message.body) + OVERHEAD for message in batch)


def _again(message: Any) -> AmqpMessage:
    properties = dict(message.properties)
    # With RabbitMQ's own in it, a message on its way to overflow would be taken for one in a circle; and some headers
    # would have it copied elsewhere once more.
    headers = without_brokers_own(properties.pop("application_headers", {}))
    for name in RENAMED:
        headers.pop(name, None)
    properties.pop("user_id", None)
    return AmqpMessage(message.body, application_headers=again(headers), **properties)
