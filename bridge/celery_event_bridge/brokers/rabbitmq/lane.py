"""Channel that was opened, and its consumer. A new object each, so it serves as the generation of its delivery tags."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.rabbitmq.bulk import described
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.presence import OUR_TAG
from celery_event_bridge.brokers.rabbitmq.window import Window
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.budget import Room

if TYPE_CHECKING:
    import amqp


class Lane:
    """A channel that consumes one queue."""

    def __init__(
        self,
        channel: amqp.Channel,
        queue: str,
        window: Window,
        deliver: Callable[[Delivered], None],
        *,
        expired: bool,
        cancelled: Callable[[str], None] = lambda _: None,
        begins: Callable[[], None] = lambda: None,
        owner: str = "",
    ) -> None:
        """`cancelled` is told where the broker cancels the consumer; `begins` is called before there is one.

        `owner` is in the consumer's tag: by it an operator sees which replica is the active one.
        """
        self._owner = owner
        self._begins = begins
        self._cancelled = cancelled
        channel.auto_decode = False
        self._channel = channel
        self.channel_number: int = channel.channel_id
        """Number of its channel, on the connection."""
        self.queue = queue
        self._deliver = deliver
        self.expired = expired
        self._consumer: str | None = None
        self.consumer_tag = b""
        """Tag of the consumer that the broker has, as it is on the wire; empty if it has none."""
        self._quiet = False
        self.window = window
        self.aside = 0
        """Messages that stay in hand for long, and take places of the prefetch since it last began to consume."""
        self.leaves = False
        """True if what arrives is not taken any more: it goes back, or has gone back, as the channel closes."""

    def finish(self) -> None:
        """Receive nothing more, since the bridge stops."""
        self.cancel()

    @property
    def consuming(self) -> bool:
        """Tell whether the broker has a consumer of ours on this channel."""
        return self._consumer is not None

    @property
    def prefetch(self) -> int:
        """Messages that it may have in hand."""
        return self.window.prefetch

    def consume(self, arguments: Mapping[str, Any] | None = None) -> None:
        """Start to receive, with the window's prefetch. What was received before does not count against it."""
        self.aside = 0
        self._begins()
        self._channel.basic_qos(0, self.prefetch, False)  # noqa: FBT003 - AMQP's own positional flag
        tag = f"{OUR_TAG}{self._owner}{uuid.uuid4().hex[: 11 - len(self._owner)]}"
        self._consumer = self._channel.basic_consume(
            self.queue, consumer_tag=tag, callback=self._arrived, on_cancel=self._ended, arguments=arguments
        )
        self.consumer_tag = self._consumer.encode()

    def cancel(self) -> None:
        """Stop receiving; what is under way still arrives. Deliveries keep their tags and can be acknowledged."""
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            self.consumer_tag = b""
            self._channel.basic_cancel(consumer)

    def adjust(self, room: Room) -> None:
        """Cancel the consumer, or consume again, as the budget says; follow the window."""
        if self.consuming:
            if room is Room.PAUSE:
                self.cancel()
            elif self.window.retune() or self.crowded:
                self.cancel()
                self.consume()
        elif room is Room.TAKE:
            self.window.retune()
            self.consume()

    def observe(self, messages: Sequence[Delivered]) -> None:
        """Take note of those that have arrived on it."""
        sizes = [len(message.body) for message in messages if message.lane is self]
        if sizes:
            self._quiet = False
            self.window.observe(sizes)

    def was_quiet(self) -> bool:
        """Tell whether it consumes and nothing has arrived since the last call."""
        quiet, self._quiet = self._quiet and self.consuming, True
        return quiet

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Send one `basic.ack`."""
        self._channel.basic_ack(tag, multiple)

    def give_back(self, tag: int) -> None:
        """Reject one with requeue: it is delivered again, or leaves the queue if it has outlived its TTL."""
        self._channel.basic_reject(tag, requeue=True)

    @property
    def crowded(self) -> bool:
        """Tell whether messages that stay in hand for long take up half of the prefetch, and it should consume anew."""
        return self.consuming and 2 * self.aside >= self.prefetch

    def close(self) -> None:
        """Close the channel: what is not acknowledged goes back to the queue, what arrives meanwhile too."""
        self.leaves = True
        self._channel.close()

    def _ended(self, consumer: str) -> None:  # noqa: ARG002 - its tag says nothing
        self._consumer = None
        self._cancelled(self.queue)
        raise BrokerUnavailable(
            f"queue {self.queue!r}: RabbitMQ has cancelled its consumer: the queue was deleted, or its node is down"
        )

    def _arrived(self, received: Any) -> None:
        self._deliver(as_message(received, self, expired=self.expired))


def as_message(received: Any, lane: Hashable, *, expired: bool) -> Delivered:
    """Return a delivery as py-amqp has it, of a channel that decodes nothing."""
    info = received.delivery_info
    content_type, headers, properties = described(received.properties)
    return Delivered(
        lane=lane,
        tag=info["delivery_tag"],
        body=bytes(received.body or b""),  # py-amqp has '' for none
        content_type=content_type,
        headers=headers,
        properties=properties,
        exchange=info["exchange"],
        routing_key=info["routing_key"],
        redelivered=info["redelivered"],
        expired=expired,
    )
