"""The queues as an operator handles them: declare, look, remove; `migration` moves. No bridge is needed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.rabbitmq.connection import abandon, ask, connect_to_any
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.topology import (
    QueueSpec,
    Topology,
    declare_mark,
    declare_queue,
    declare_witness,
)
from celery_event_bridge.brokers.rabbitmq.unready import SAMPLED_WITHIN, Unready
from celery_event_bridge.brokers.rabbitmq.waiting import Tell, may_hold_back
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import QueueState, refuse_what_is_in_use

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

NOT_FOUND = 404


@contextmanager
def connected(settings: Settings) -> Iterator[Broker]:
    """Yield the first broker that answers. Raises BrokerUnavailable."""
    connection, _ = connect_to_any(settings, role="queues")
    management = Management(settings) if settings.management_url else None
    try:
        yield Broker(connection, management, declares=settings.declare)
    finally:
        abandon(connection)


class Broker:
    """Connection in which each question has a channel of its own, since an error closes it."""

    def __init__(
        self, connection: amqp.Connection, management: Management | None = None, *, declares: bool = True
    ) -> None:
        """Begin; without `declares`, what a user may only read is looked at, not declared to compare its arguments."""
        self.connection = connection
        self.management = management
        self._declares = declares

    def declare_queues(self, topology: Topology) -> None:
        """Declare the queues alone, which nothing reaches then. Raises BrokerUnavailable."""
        for queue in topology.queues:
            self.ask(partial(declare_queue, queue=queue))

    def declare(self, topology: Topology) -> None:
        """Declare the exchange and the queues and bind them. Raises BrokerUnavailable."""
        self.ask(topology.declare)
        for declare in (declare_witness, declare_mark):
            with suppress(BrokerUnavailable):  # without the right to it, or its name is somebody's: see `Upkeep`
                self.ask(partial(declare, topology=topology))

    def states(self, topology: Topology) -> Iterator[QueueState]:
        """Each queue as it is."""
        for queue in topology.queues:
            yield self.state(queue)

    def remove(
        self, topology: Topology, tell: Tell, *, force: bool = False, sampled_within: float = SAMPLED_WITHIN
    ) -> list[str]:
        """Delete the queues: live first, so that nothing comes in any more. Returns the names of those that were there.

        Raises QueuesInUse where a queue has consumers or messages, also such as are not ready: see `Unready`; unless
        `force`.
        """
        found = self.present(topology)
        if not force:
            refuse_what_is_in_use(found)
            self.have_overflow(topology, tell)
            names = [state.name for state in found]
            unready = Unready(self.connection, self.management, topology, names, sampled_within=sampled_within)
            unready.refuse_or_wait(tell, lambda: refuse_what_is_in_use(self.present(topology)))
            found = self.present(topology)
            refuse_what_is_in_use(found)
        for state in reversed(found):
            self.delete(state.name)
        self.delete_witnesses(topology)
        return [state.name for state in reversed(found)]

    def have_overflow(self, topology: Topology, tell: Tell) -> None:
        """Declare the overflow queue where the live one lacks it: what expired since is held back, which nobody sees.

        Where it is there, RabbitMQ brings it at its next attempt.
        """
        overflow = topology.overflow if may_hold_back(topology) else None
        there = [state.name for state in self.present(topology)]
        if overflow and topology.live.name in there and overflow.name not in there:
            self.ask(partial(declare_queue, queue=overflow))
            tell(f"queue {overflow.name}: was not there; declared, for what RabbitMQ may hold back for it")

    def delete(self, queue: str) -> None:
        """Delete a queue, with all that is in it."""
        self.ask(partial(_delete, queue))

    def delete_witnesses(self, topology: Topology) -> None:
        """Delete what nobody misses, and what not everybody has the right to: the queues are gone already."""
        self.delete_exchanges((topology.witness, topology.queue_witness))

    def delete_exchanges(self, names: Iterable[str]) -> None:
        """Delete those that are there and that this user may."""
        for name in names:
            with suppress(BrokerUnavailable):
                self.ask(partial(_delete_exchange, name))

    def present(self, topology: Topology) -> list[QueueState]:
        """Return those that are there. Raises BrokerUnavailable where one cannot be asked for: that is no answer."""
        found = list(self.states(topology))
        for state in found:
            if state.messages is None and state.problem:
                raise BrokerUnavailable(f"queue {state.name}: {state.problem}")
        return [state for state in found if state.messages is not None]

    def state(self, queue: QueueSpec) -> QueueState:
        """Return how a queue is."""
        try:
            found = self.ask(lambda channel: channel.queue_declare(queue.name, passive=True))
        except BrokerUnavailable as exc:
            if exc.code == NOT_FOUND:
                return QueueState(queue.name, queue.arguments)
            return QueueState(queue.name, queue.arguments, problem=str(exc))
        problem = ""
        try:
            if not self._declares:
                return QueueState(queue.name, queue.arguments, found.message_count, found.consumer_count)
            # It is there, so that this changes nothing, and says whether the arguments are ours.
            self.ask(lambda channel: declare_queue(channel, queue))
        except BrokerUnavailable as exc:
            problem = str(exc)
        return QueueState(queue.name, queue.arguments, found.message_count, found.consumer_count, problem)

    def ask(self, action: Callable[[amqp.Channel], Any]) -> Any:
        """Do something on a channel of its own. Raises BrokerUnavailable."""
        return ask(self.connection, action)


def _delete(queue: str, channel: amqp.Channel) -> None:
    channel.queue_delete(queue)


def _delete_exchange(name: str, channel: amqp.Channel) -> None:
    channel.exchange_delete(name)
