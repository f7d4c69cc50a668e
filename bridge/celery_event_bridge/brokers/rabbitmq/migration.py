"""Moving from queues of one name to others, with other arguments, under load and without loss."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.arguments import queue_type
from celery_event_bridge.brokers.rabbitmq.bindings import OtherBindings
from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.destination import why_dropped
from celery_event_bridge.brokers.rabbitmq.migration_marks import leave_marks, marks
from celery_event_bridge.brokers.rabbitmq.mover import Mover, QueueFull
from celery_event_bridge.brokers.rabbitmq.new_queues import NewQueues
from celery_event_bridge.brokers.rabbitmq.purged import leave_trace
from celery_event_bridge.brokers.rabbitmq.topology import declare_witness
from celery_event_bridge.brokers.rabbitmq.unready import HELD_BACK_FOR, SAMPLED_WITHIN, Unready
from celery_event_bridge.brokers.rabbitmq.waiting import LOOK, Says, Tell
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import QueuesInUse, refuse_what_is_in_use
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.operations import Broker
    from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology

OWN_GETS = 2.0
"""Seconds for which a queue may count our own gets as a consumer."""


def migrate(
    broker: Broker, old: Topology, new: Topology, wait: float, tell: Tell, *, sampled_within: float = SAMPLED_WITHIN
) -> int:
    """Publish goes to the new queues from now on; what is in the old ones is moved; then these are removed.

    First the new queue is bound, then the old one unbound: what is published in between is in both, and comes twice
    with the same id. Both are done again with each look, since anybody may undo them. Bridges of the old settings may
    drain theirs meanwhile. Returns how many messages were moved.
    Raises QueuesInUse if these have not been stopped after `wait` seconds: they would declare the old queues anew; or
    if the new ones have no room, or would lose by a policy; or if somebody has messages in hand.
    """
    _refuse_what_cannot_be_moved(broker, old)
    broker.declare_queues(new)
    _refuse_what_would_be_lost(broker, new)
    broker.declare(new)
    tell(f"queue {new.live.name}: declared and bound to {new.exchange}")
    others = OtherBindings(broker.management, old, new, tell)
    broker.ask(others.carry_over)

    def unbind(channel: amqp.Channel) -> None:
        channel.queue_unbind(old.live.name, old.exchange, routing_key="#")

    _mark(broker, old, new)
    broker.ask(unbind)
    broker.ask(others.unbind)
    tell(f"queue {old.live.name}: no longer bound")
    if broker.management is None and wait < HELD_BACK_FOR:
        tell(
            f"--wait {wait:g} is too short to end: without BRIDGE_MANAGEMENT_URL what RabbitMQ may hold back is waited "
            f"for, for {HELD_BACK_FOR:g} s; what can be moved is moved"
        )
    broker.have_overflow(old, tell)
    movers = _movers(broker, old, new)
    kept_up = NewQueues(broker, new, others, tell)
    deadline = Deadline(wait)
    names = [state.name for state in broker.present(old)]
    unready = Unready(broker.connection, broker.management, old, names, sampled_within=sampled_within)
    says = Says(tell)
    _leave_trace(broker, old)
    try:
        while (busy := _move_all(broker, old, movers)) or not unready.none():
            _leave_trace(broker, old)
            kept_up.look()
            broker.ask(unbind)  # a bridge of the old settings binds it again with each look
            if deadline.passed:
                raise QueuesInUse(_why_not(busy or unready.seen, seen=broker.management is not None))
            says.waiting(f"waiting for {busy}" if busy else unready.seen or unready.looking)
            time.sleep(LOOK)
    except QueueFull as exc:
        raise QueuesInUse(str(exc)) from exc
    finally:
        moved = sum(mover.moved for mover in movers.values())
        tell(f"{counted(moved, 'message')} moved")
    kept_up.look()
    # What has come meanwhile, which only a bridge of the old settings can have brought about, is looked at again.
    found = broker.present(old)
    refuse_what_is_in_use(found)
    for state in reversed(found):
        broker.delete(state.name)
        if state.name == old.live.name:
            broker.delete_witnesses(old)
        tell(f"queue {state.name}: removed")
    return moved


def _mark(broker: Broker, old: Topology, new: Topology) -> None:
    """Let bridges of the old settings know; where the right is missing, they take it for what others may do."""
    broker.delete_exchanges(marks(new.name))  # of a migration the other way
    for declare in (partial(declare_witness, topology=old), partial(leave_marks, old=old, new=new)):
        with suppress(BrokerUnavailable):
            broker.ask(declare)


def _leave_trace(broker: Broker, old: Topology) -> None:
    with translated(f"letting others know that {old.live.name} is drained"):
        leave_trace(broker.connection, old.live.name)


def _refuse_what_cannot_be_moved(broker: Broker, old: Topology) -> None:
    there = broker.present(old)
    if not there:
        raise QueuesInUse(f"there is no queue {old.live.name}: nothing is changed")
    # The live queue goes first: without it, a migration that was killed then has the others to move and remove still.
    if not any(state.name == old.rejected.name for state in there):
        raise QueuesInUse(
            f"queue {old.live.name} is none of a bridge's, no queue {old.rejected.name} is beside it: nothing "
            "is changed. If it is one, declare them with `queues declare` and BRIDGE_QUEUE first"
        )
    for state in there:
        with translated():
            is_stream = queue_type(broker.connection, state.name) == "stream"
        if is_stream:
            raise QueuesInUse(
                f"queue {state.name} is a stream, which hands out no single message: nothing is changed. Read what "
                "is in it with a client of streams, delete it, and say the same again"
            )


def _refuse_what_would_be_lost(broker: Broker, new: Topology) -> None:
    """Raise QueuesInUse for a policy that makes a new queue lose, where the API shows it."""
    if text := why_dropped(broker.management, new.queues):
        raise QueuesInUse(f"{text}. Nothing was moved, and nothing is bound that was not before")


def _movers(broker: Broker, old: Topology, new: Topology) -> Mapping[str, Mover]:
    targets: dict[str, tuple[QueueSpec, tuple[str, ...]]] = {
        # What expires meanwhile is in overflow.
        old.live.name: (new.live, (new.overflow.name,) if new.overflow else ()),
        old.rejected.name: (new.rejected, ()),
    }
    if old.overflow:
        targets[old.overflow.name] = (new.overflow, ()) if new.overflow else targets[old.live.name]
    return {name: Mover(broker.connection, name, target, beside) for name, (target, beside) in targets.items()}


def _move_all(broker: Broker, old: Topology, movers: Mapping[str, Mover]) -> str:
    """Move what is ready. Returns who and what is there still, empty if nobody and nothing is."""
    before = broker.present(old)
    for state in before:
        if state.messages:
            movers[state.name].move()
    ours = {state.name for state in before if state.messages and not state.consumers}
    gone = Deadline(OWN_GETS)
    # A quorum queue counts who gets a message as a consumer, until it has seen to the acknowledgement.
    while left := [state for state in broker.present(old) if state.consumers or state.messages]:
        if gone.passed or not any(state.name in ours and not state.messages for state in left):
            break
        time.sleep(0.05)
    text = ", ".join(
        f"{state.name} ({counted(state.consumers, 'consumer')}, {counted(state.messages or 0, 'message')})"
        for state in left
    )
    return text and f"{text}: stop the bridges that consume them"


def _why_not(busy: str, *, seen: bool) -> str:
    if busy:
        return f"still in use: {busy}, and say the same again"
    return (
        "all that is ready was moved, but RabbitMQ may hold back messages for their dead-letter route, for "
        f"{HELD_BACK_FOR:g} s at most: say the same again with --wait {HELD_BACK_FOR + 10:g}"
        + ("" if seen else ", or set BRIDGE_MANAGEMENT_URL, which tells")
    )
