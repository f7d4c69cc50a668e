"""The queues as an operator handles them: declare, look, move to others, remove. No bridge is needed for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology, declare_queue
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.config.settings import Settings

BATCH = 200
"""Messages that are moved between two waits for their confirms."""
LOOK = 0.5
"""Seconds between two looks at a queue that others still drain."""


class QueueState(msgspec.Struct, frozen=True):
    """What the broker says of a queue."""

    name: str
    arguments: Mapping[str, Any]
    """Those that the settings ask for."""
    messages: int | None = None
    """Ready ones; None if the queue is not there."""
    consumers: int = 0
    problem: str = ""
    """Why it cannot be used with these settings."""


class QueuesInUse(Exception):
    """Something would be lost or come back. The text says what to do."""


@contextmanager
def connected(settings: Settings) -> Iterator[Broker]:
    """The first broker that answers. Raises BrokerUnavailable."""
    for position, url in enumerate(settings.broker_urls, 1):
        try:
            connection = connect(settings, url, role="queues")
            break
        except BrokerUnavailable:
            if position == len(settings.broker_urls):
                raise
    try:
        yield Broker(connection, declares=settings.declare)
    finally:
        abandon(connection)


class Broker:
    """One connection; each question has a channel of its own, since an error closes it."""

    def __init__(self, connection: amqp.Connection, *, declares: bool = True) -> None:
        """Without `declares`, what a user may only read is looked at and not declared to compare its arguments."""
        self._connection = connection
        self._declares = declares

    def declare(self, topology: Topology) -> None:
        """Declare the exchange and the queues and bind them. Raises BrokerUnavailable."""
        self._ask(topology.declare)

    def states(self, topology: Topology) -> Iterator[QueueState]:
        """Each queue as it is."""
        for queue in topology.queues:
            yield self._state(queue)

    def remove(self, topology: Topology, *, force: bool = False) -> list[str]:
        """Delete the queues: live first, so that nothing comes in any more. Returns the names of those that were there.

        Raises QueuesInUse where a queue has consumers or messages, unless `force`.
        """
        found = [state for state in self.states(topology) if state.messages is not None]
        for state in found if not force else ():
            if state.consumers:
                raise QueuesInUse(f"queue {state.name} has {state.consumers} consumers: stop the bridges first")
            if state.messages:
                raise QueuesInUse(
                    f"queue {state.name} holds {state.messages} messages: let a bridge drain it, see to what is parked "
                    "with `rejected`, or say --force to lose them"
                )
        for state in reversed(found):
            self._ask(partial(_delete, state.name))
        return [state.name for state in reversed(found)]

    def migrate(self, old: Topology, new: Topology, wait: float, tell: Callable[[str], None]) -> int:
        """Publish goes to the new queues from now on; what is in the old ones is moved; then these are removed.

        First the new queue is bound, then the old one unbound: what is published in between is in both, and comes twice
        with the same id. Bridges of the old settings may drain theirs meanwhile. Returns how many messages were moved.
        Raises QueuesInUse if these have not been stopped after `wait` seconds: they would declare the old queues anew.
        """
        if self._state(old.live).messages is None:
            raise QueuesInUse(f"there is no queue {old.live.name}: nothing is changed")
        self.declare(new)
        tell(f"queue {new.live.name}: declared and bound to {new.exchange}")
        self._ask(lambda channel: channel.queue_unbind(old.live.name, old.exchange, routing_key="#"))
        tell(f"queue {old.live.name}: no longer bound")
        targets = {old.live.name: new.live.name, old.rejected.name: new.rejected.name}
        if old.overflow:
            targets[old.overflow.name] = (new.overflow or new.live).name
        moved = 0
        deadline = time.monotonic() + wait
        while True:
            states = [state for state in self.states(old) if state.messages is not None]
            moved += sum(self._move(state.name, targets[state.name]) for state in states if state.messages)
            if not any(state.consumers or state.messages for state in states):
                break
            if time.monotonic() > deadline:
                busy = [f"{state.name} ({state.consumers} consumers, {state.messages} messages)" for state in states]
                raise QueuesInUse(
                    f"still in use: {', '.join(busy)}: stop the bridges that consume them, and say the same again"
                )
            time.sleep(LOOK)
        tell(f"{moved} messages moved")
        for name in self.remove(old):
            tell(f"queue {name}: removed")
        return moved

    def _move(self, source: str, target: str) -> int:
        """Messages are acknowledged in the old queue when the new one has confirmed them; a crash doubles some."""
        moved = 0
        with translated(f"moving {source} to {target}"):
            channel = self._connection.channel()
            channel.auto_decode = False
            confirmed = Confirms(channel)
            while batch := self._take(channel, source):
                for message in batch:
                    properties = dict(message.properties)
                    headers = dict(properties.pop("application_headers", {}))
                    # RabbitMQ's own: with it in, a message on its way to overflow would be taken for one in a circle;
                    # and what would have it refused, or copied elsewhere once more.
                    for name in ("x-death", "CC"):
                        headers.pop(name, None)
                    properties.pop("user_id", None)
                    again = AmqpMessage(message.body, application_headers=headers, **properties)
                    channel.basic_publish(again, "", target, mandatory=True)
                confirmed.wait(len(batch), target)
                channel.basic_ack(batch[-1].delivery_tag, True)  # noqa: FBT003 - AMQP's `multiple`
                moved += len(batch)
            channel.close()
        return moved

    def _take(self, channel: amqp.Channel, queue: str) -> list[Any]:
        batch: list[Any] = []
        while len(batch) < BATCH and (message := channel.basic_get(queue)) is not None:
            batch.append(message)
        return batch

    def _state(self, queue: QueueSpec) -> QueueState:
        try:
            found = self._ask(lambda channel: channel.queue_declare(queue.name, passive=True))
        except BrokerUnavailable as exc:
            if "NOT_FOUND" in str(exc):
                return QueueState(queue.name, queue.arguments)
            return QueueState(queue.name, queue.arguments, problem=str(exc))
        problem = ""
        try:
            if not self._declares:
                return QueueState(queue.name, queue.arguments, found.message_count, found.consumer_count)
            # It is there, so that this changes nothing, and says whether the arguments are ours.
            self._ask(lambda channel: declare_queue(channel, queue))
        except BrokerUnavailable as exc:
            problem = str(exc)
        return QueueState(queue.name, queue.arguments, found.message_count, found.consumer_count, problem)

    def _ask(self, action: Callable[[amqp.Channel], Any]) -> Any:
        with translated():
            channel = self._connection.channel()
            result = action(channel)
            channel.close()
        return result


def _delete(queue: str, channel: amqp.Channel) -> None:
    channel.queue_delete(queue)
