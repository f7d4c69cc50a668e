"""Passive declares and other small requests, on one channel that is opened anew after each refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError, NotFound, ResourceLocked

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.topology import Topology


class Questions:
    """Requests on one connection, from the thread that owns it."""

    def __init__(self, connection: amqp.Connection) -> None:
        """Begin without a channel."""
        self.connection = connection
        self._channel: amqp.Channel | None = None
        self.consumers: dict[str, int] = {}
        """Consumers by queue, anybody's, as last seen."""

    def do(self, action: Callable[[amqp.Channel], Any]) -> Any:
        """Do something on our channel, which an error of the broker's closes. Raises what the client raises."""
        channel, self._channel = self._channel or self.connection.channel(), None
        answer = action(channel)
        self._channel = channel
        return answer

    def may(self, declare: Callable[[amqp.Channel, Topology], None], topology: Topology) -> bool:
        """Declare what a user may have no right to, or whose name is somebody's; return whether it could be."""
        try:
            self.do(lambda channel: declare(channel, topology))
        except ChannelError:
            return False
        return True

    def exists(self, exchange: str, kind: str) -> bool:
        """Tell whether there is such an exchange. Raises what the client raises, except for NotFound."""
        return self._ask(lambda channel: channel.exchange_declare(exchange, kind, passive=True)) is not None

    def depth(self, queue: str) -> int | None:
        """Return the ready messages of a queue; None if it is not there. Raises what the client raises."""
        try:
            found = self._ask(lambda channel: channel.queue_declare(queue, passive=True))
        except ResourceLocked:  # it is there, and another connection's alone
            return 0
        if found is None:
            return None
        self.consumers[queue] = int(found.consumer_count)
        return int(found.message_count)

    def _ask(self, question: Callable[[amqp.Channel], Any]) -> Any:
        """Return the answer to a passive declare, or None if there is no such thing."""
        try:
            return self.do(lambda channel: question(channel) or True)
        except NotFound:
            return None
