"""Guard of `replay` against feeding a bridge its own events: who is bound to the exchange, and who consumes there.

AMQP has no question for a binding. So bridges leave a mark at their event exchange (`topology.declare_mark`), which is
there for as long as the queue of any of them is, whatever its name and whether or not a bridge runs. The management
API, where it can be asked, names the queues, also those of bridges that declare nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed, ResourceLocked

from celery_event_bridge.brokers.rabbitmq.connection import ask
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.presence import OUR_TAG
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import BrokerUnavailable, WouldLoop

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

ANSWERED = 0
REFUSALS = (AccessRefused.code, NotFound.code, ResourceLocked.code, PreconditionFailed.code)


def refuse_loop(connection: amqp.Connection, settings: Settings, where: str) -> None:
    """Raise WouldLoop if a bridge gets what is published to `where`, the exchange; BrokerUnavailable if it goes away.

    `settings` are those of the target's broker, with a management URL only if that is the target's as well.
    """
    topology = Topology.from_settings(settings)
    queues = _bridges_queues(settings, topology)
    if queues:
        raise WouldLoop(
            f"{', '.join(queues)}, bound to {where}, {'are' if len(queues) > 1 else 'is'} a bridge's: {_loop(topology)}"
        )
    if queues is None:
        _refuse_by_name(connection, topology, where)
    if _is_marked(connection, topology.mark):
        raise WouldLoop(
            f"a bridge's queue, whatever its name, is bound to {where}, as the exchange {topology.mark!r} there says: "
            f"{_loop(topology)}"
        )


def _loop(topology: Topology) -> str:
    return (
        f"it would get its own events again from exchange {topology.exchange!r}; replay to another broker or vhost, or "
        "say --again"
    )


def _bridges_queues(settings: Settings, topology: Topology) -> list[str] | None:
    """Return the queues of bridges that are bound to the exchange; None if the management API cannot be asked."""
    if settings.management_url is None:
        return None
    management = Management(settings)
    try:
        bound = management.bound_to(topology.exchange)
        return [f"queue {name!r}" for name in bound if _is_a_bridges(management, name)]
    except BrokerUnavailable:
        return None


def _is_a_bridges(management: Management, queue: str) -> bool:
    """Tell whether bridges consume it, or have declared it: no other queue has one for parking beside it."""
    found = management.queue(queue) or {}
    consumers = found.get("consumer_details") or ()
    if any(str(each.get("consumer_tag", "")).startswith(OUR_TAG) for each in consumers):
        return True
    return management.queue(f"{queue}.rejected") is not None


def _refuse_by_name(connection: amqp.Connection, topology: Topology, where: str) -> None:
    """Take a queue of the settings' name to be bound: bridges that declare nothing, or older ones, leave no mark."""
    queue = topology.live.name
    code = _refusal(connection, lambda channel: channel.queue_declare(queue, passive=True))
    if code == NotFound.code:
        return
    there = f"the bridge's queue {queue!r} is on {where}"  # also if it is another connection's alone
    why = f"this user may not see whether {there}" if code == AccessRefused.code else there
    raise WouldLoop(f"{why}: {_loop(topology)}, or set BRIDGE_QUEUE if that queue is not the bridge's")


def _is_marked(connection: amqp.Connection, mark: str) -> bool:
    """Tell whether a queue is bound to the mark, which who died before binding one has left alone."""
    if _refusal(connection, lambda channel: channel.exchange_declare(mark, "fanout", passive=True)) == NotFound.code:
        return False
    # Refused if it is in use; and to who may not delete it, who cannot tell.
    return _refusal(connection, lambda channel: channel.exchange_delete(mark, if_unused=True)) != ANSWERED


def _refusal(connection: amqp.Connection, question: Callable[[amqp.Channel], Any]) -> int:
    """Put a question on a channel of its own; return the reply code of the refusal, or ANSWERED.

    Raises BrokerUnavailable if the connection is lost.
    """
    try:
        ask(connection, question, "looking for the bridge's own queue")
    except BrokerUnavailable as exc:
        if exc.code in REFUSALS:
            return exc.code
        raise
    return ANSWERED
