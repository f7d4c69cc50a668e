"""Things that are declared at the broker of the wire: queues with arguments, exchanges, bindings; and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.simulation.ordered.shards import first_in_line
from tests.simulation.rabbitmq.modelled_queues import Queue

if TYPE_CHECKING:
    from tests.simulation.rabbitmq.modelled_rabbitmq import Channel
    from tests.simulation.wire.amqp_channel import AmqpChannel
    from tests.simulation.wire.broker import Broker

NO_BOUND = 1 << 40


class Refused(Exception):
    """A request that ends its channel."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Exchange(NamedTuple):
    """An exchange."""

    kind: str
    auto_delete: bool


class Binding(NamedTuple):
    """A way from an exchange to a queue, or to another exchange."""

    source: str
    destination: str
    to_queue: bool
    key: str


class NamedQueue(Queue):
    """A queue as somebody has declared it."""

    rabbit: Broker
    consumers: list[AmqpChannel]  # type: ignore[assignment]

    def __init__(self, broker: Broker, name: str, arguments: Mapping[str, Any], *, auto_delete: bool) -> None:
        ttl = arguments.get("x-message-ttl")
        super().__init__(
            broker,
            name,
            arguments.get("x-max-length-bytes", NO_BOUND),
            None if ttl is None else ttl / 1000,
            rejects=arguments.get("x-overflow") == "reject-publish",
        )
        self.arguments = arguments
        self.auto_delete = auto_delete
        self.used_at = 0.0

    @property
    def consumed_by(self) -> int:
        """Return how many consume it."""
        count = sum(channel.consuming for channel in self.consumers)
        return min(1, count) if self.is_single else count

    @property
    def is_single(self) -> bool:
        """Return whether one consumer at a time is active; RabbitMQ counts that one alone."""
        return bool(self.arguments.get("x-single-active-consumer"))

    def turn(self) -> Channel | None:
        """Return whose turn it is."""
        return first_in_line(self) if self.is_single else super().turn()
