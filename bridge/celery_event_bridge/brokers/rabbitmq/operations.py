"""The queues as an operator handles them: declare, look, move to others, remove. No bridge is needed for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.differing import is_stream
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.moving import Mover, QueueFull
from celery_event_bridge.brokers.rabbitmq.purged import leave_trace
from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology, declare_queue, declare_witness
from celery_event_bridge.brokers.rabbitmq.waiting import Says, Tell, for_what_is_held_back, may_hold_back
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.config.settings import Settings

LOOK = 0.5
"""Seconds between two looks at a queue that others still drain."""
HELD_BACK_FOR = 190.0
"""Seconds after which a message that waits for its dead-letter route has certainly left: RabbitMQ tries each 180."""
OWN_GETS = 2.0
"""Seconds for which a queue may count our own gets as a consumer."""
SAMPLED_WITHIN = 15.0
"""Seconds for which the management API has to say that nothing is held back: it samples each five, later under load."""
NOT_FOUND = 404


class QueueState(msgspec.Struct, frozen=True):
    """State of a queue by the broker."""

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
        self._connection = connection
        self._management = management
        self._declares = declares

    def declare(self, topology: Topology) -> None:
        """Declare the exchange and the queues and bind them. Raises BrokerUnavailable."""
        self._ask(topology.declare)
        with suppress(BrokerUnavailable):  # without the right to it, or its name is somebody's: see `Upkeep`
            self._ask(lambda channel: declare_witness(channel, topology))

    def states(self, topology: Topology) -> Iterator[QueueState]:
        """Each queue as it is."""
        for queue in topology.queues:
            yield self._state(queue)

    def remove(
        self, topology: Topology, tell: Tell, *, force: bool = False, held_back_for: float = HELD_BACK_FOR
    ) -> list[str]:
        """Delete the queues: live first, so that nothing comes in any more. Returns the names of those that were there.

        Raises QueuesInUse where a queue has consumers or messages, also such as wait for their dead-letter route, which
        are neither ready nor in anybody's hand; unless `force`.
        """
        found = self._present(topology)
        if not force:
            self._refuse_what_is_in_use(found)
            self._await_held_back(topology, found, Deadline(held_back_for), tell)
            found = self._present(topology)
            self._refuse_what_is_in_use(found)
        for state in reversed(found):
            self._ask(partial(_delete, state.name))
        self._delete_witnesses(topology)
        return [state.name for state in reversed(found)]

    def migrate(
        self, old: Topology, new: Topology, wait: float, tell: Tell, *, held_back_for: float = HELD_BACK_FOR
    ) -> int:
        """Publish goes to the new queues from now on; what is in the old ones is moved; then these are removed.

        First the new queue is bound, then the old one unbound: what is published in between is in both, and comes twice
        with the same id. Bridges of the old settings may drain theirs meanwhile. Returns how many messages were moved.
        Raises QueuesInUse if these have not been stopped after `wait` seconds: they would declare the old queues anew;
        or if the new ones have no room.
        """
        self._refuse_what_cannot_be_moved(old)
        self.declare(new)
        tell(f"queue {new.live.name}: declared and bound to {new.exchange}")

        def unbind(channel: amqp.Channel) -> None:
            channel.queue_unbind(old.live.name, old.exchange, routing_key="#")

        self._ask(unbind)
        tell(f"queue {old.live.name}: no longer bound")
        targets = {old.live.name: new.live, old.rejected.name: new.rejected}
        if old.overflow:
            targets[old.overflow.name] = new.overflow or new.live
        movers = {name: Mover(self._connection, name, target) for name, target in targets.items()}
        deadline, held_back = Deadline(wait), Deadline(held_back_for)
        says, looking = Says(tell), for_what_is_held_back(seen=self._management is not None)
        leave_trace(self._connection, old.live.name)
        try:
            while (busy := self._move_all(old, movers)) or not self._nothing_held_back(old, held_back):
                leave_trace(self._connection, old.live.name)
                self._ask(unbind)  # a bridge of the old settings binds it again with each look
                if deadline.passed:
                    raise QueuesInUse(self._why_not(busy, held_back_for))
                says.waiting(f"waiting for {busy}" if busy else looking)
                time.sleep(LOOK)
        except QueueFull as exc:
            raise QueuesInUse(str(exc)) from exc
        moved = sum(mover.moved for mover in movers.values())
        tell(f"{moved} messages moved")
        # What has come meanwhile, which only a bridge of the old settings can have brought about, is looked at again.
        found = self._present(old)
        self._refuse_what_is_in_use(found)
        for state in reversed(found):
            self._ask(partial(_delete, state.name))
            tell(f"queue {state.name}: removed")
        self._delete_witnesses(old)
        return moved

    def _delete_witnesses(self, topology: Topology) -> None:
        """Delete what nobody misses, and what not everybody has the right to: the queues are gone already."""
        for name in (topology.witness, topology.queue_witness):
            with suppress(BrokerUnavailable):
                self._ask(partial(_delete_exchange, name))

    def _refuse_what_cannot_be_moved(self, old: Topology) -> None:
        if self._state(old.live).messages is None:
            raise QueuesInUse(f"there is no queue {old.live.name}: nothing is changed")
        if self._state(old.rejected).messages is None:
            raise QueuesInUse(
                f"queue {old.live.name} is none of a bridge's, no queue {old.rejected.name} is beside it: nothing "
                "is changed. If it is one, declare them with `queues declare` and BRIDGE_QUEUE first"
            )
        for state in self._present(old):
            if self._is_stream(state.name):
                raise QueuesInUse(
                    f"queue {state.name} is a stream, which hands out no single message: nothing is changed. Read what "
                    "is in it with a client of streams, delete it, and say the same again"
                )

    # What is in them ----------------------------------------------------------------------------------------------

    def _move_all(self, old: Topology, movers: Mapping[str, Mover]) -> str:
        """Move what is ready. Returns who and what is there still, empty if nobody and nothing is."""
        before = self._present(old)
        for state in before:
            if state.messages:
                movers[state.name].move()
        ours = {state.name for state in before if state.messages and not state.consumers}
        gone = Deadline(OWN_GETS)
        # A quorum queue counts who gets a message as a consumer, until it has seen to the acknowledgement.
        while left := [state for state in self._present(old) if state.consumers or state.messages]:
            if gone.passed or not any(state.name in ours and not state.messages for state in left):
                break
            time.sleep(0.05)
        return ", ".join(f"{state.name} ({state.consumers} consumers, {state.messages} messages)" for state in left)

    def _why_not(self, busy: str, held_back_for: float) -> str:
        if busy:
            return f"still in use: {busy}: stop the bridges that consume them, and say the same again"
        return (
            "all that is ready was moved, but RabbitMQ may hold back messages for their dead-letter route, for "
            f"{held_back_for:g} s at most: say the same again with --wait {held_back_for + 10:g}"
            + ("" if self._management else ", or set BRIDGE_MANAGEMENT_URL, which tells")
        )

    def _nothing_held_back(self, topology: Topology, unseen: Deadline) -> bool:
        """Return whether no message waits for its dead-letter route; without the management API, by the clock."""
        if not may_hold_back(topology):
            return True
        if self._management is None:
            return unseen.passed
        sampled = Deadline(SAMPLED_WITHIN)
        while not sampled.passed:
            if (count := self._held_back(topology)) != 0:
                return count is None and unseen.passed
            time.sleep(LOOK)
        return True

    def _await_held_back(self, topology: Topology, found: Sequence[QueueState], unseen: Deadline, tell: Tell) -> None:
        if not any(state.name == topology.live.name for state in found):
            return
        says, looking = Says(tell), for_what_is_held_back(seen=self._management is not None)
        says.waiting(looking)
        while not self._nothing_held_back(topology, unseen):
            if self._management is not None and (count := self._held_back(topology)):
                raise QueuesInUse(
                    f"queue {topology.live.name} holds {count} messages that wait for their dead-letter route, which "
                    "RabbitMQ tries every three minutes: let a bridge drain them, or say --force to lose them"
                )
            says.waiting(looking)
            self._refuse_what_is_in_use(self._present(topology))
            time.sleep(LOOK)

    def _held_back(self, topology: Topology) -> int | None:
        """Return how many messages of the live queue are neither ready nor in anybody's hand; None: not known yet.

        The API knows a queue before it has counted what is in it.
        """
        assert self._management is not None
        found = self._management.queue(topology.live.name) or {}
        counts = [found.get(name) for name in ("messages", "messages_ready", "messages_unacknowledged")]
        if any(count is None for count in counts):
            return None
        messages, ready, unacknowledged = map(int, counts)  # type: ignore[arg-type]
        return max(0, messages - ready - unacknowledged)

    def _present(self, topology: Topology) -> list[QueueState]:
        return [state for state in self.states(topology) if state.messages is not None]

    def _refuse_what_is_in_use(self, found: Sequence[QueueState]) -> None:
        for state in found:
            if state.consumers:
                raise QueuesInUse(f"queue {state.name} has {state.consumers} consumers: stop the bridges first")
            if state.messages:
                raise QueuesInUse(
                    f"queue {state.name} holds {state.messages} messages: let a bridge drain it, see to what is parked "
                    "with `rejected`, or say --force to lose them"
                )

    def _state(self, queue: QueueSpec) -> QueueState:
        try:
            found = self._ask(lambda channel: channel.queue_declare(queue.name, passive=True))
        except BrokerUnavailable as exc:
            if exc.code == NOT_FOUND:
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

    def _is_stream(self, queue: str) -> bool:
        with translated():
            return is_stream(self._connection, queue)

    def _ask(self, action: Callable[[amqp.Channel], Any]) -> Any:
        with translated():
            channel = self._connection.channel()
            result = action(channel)
            channel.close()
        return result


def _delete(queue: str, channel: amqp.Channel) -> None:
    channel.queue_delete(queue)


def _delete_exchange(name: str, channel: amqp.Channel) -> None:
    channel.exchange_delete(name)
