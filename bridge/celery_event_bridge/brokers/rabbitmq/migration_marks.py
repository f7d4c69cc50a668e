"""Marks of a migration, by which a bridge that still runs with the old name tells it from what others do to its queue.

They are two exchanges to which nothing is published, like the witnesses of `declare_witness`: one is gone with the
event exchange, the other with the new queue. So as long as both are there the new queue is, and is bound as far as AMQP
can tell. They say that the queue is being moved, and is rightly unbound; and once the witness of the old queue is gone,
which a migration removes last, that it was moved, and rightly removed. Who declares it anew declares the witness too.

Such a bridge binds its queue again all the same: events then come twice, and who gives up a migration half-way has
bridges that store.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.questions import Questions
    from celery_event_bridge.brokers.rabbitmq.topology import Topology


class Route(enum.Enum):
    """Way of the events to the live queue, as the management API has it."""

    BOUND = "bound"
    UNBOUND = "unbound"
    MOVED = "unbound by a migration, and the new queue is bound"


class Moving(enum.Enum):
    """State of a queue in a migration to another name."""

    NO = "no"
    BEGUN = "begun"
    DONE = "done"


def marks(live: str) -> tuple[str, str]:
    """Return the names of the marks of a queue: the one of the exchange, and the one of the new queue."""
    return f"{live}.moved", f"{live}.moved.queue"


def leave_marks(channel: amqp.Channel, old: Topology, new: Topology) -> None:
    """Say that the old queues are being moved to the new ones, which are bound. Raises what the client raises."""
    of_exchange, of_queue = marks(old.name)
    channel.exchange_declare(of_exchange, "fanout", durable=True, auto_delete=True)
    channel.exchange_bind(new.exchange, of_exchange)
    channel.exchange_declare(of_queue, "fanout", durable=True, auto_delete=True)
    channel.queue_bind(new.live.name, of_queue)


def moving(asking: Questions, topology: Topology) -> Moving:
    """Return how far a migration is with these queues. Raises what the client raises.

    To be asked before the queues are: a replica declares them anew, and then the witness.
    """
    if not all(asking.exists(name, "fanout") for name in marks(topology.name)):
        return Moving.NO
    return Moving.BEGUN if asking.exists(topology.witness, "fanout") else Moving.DONE
