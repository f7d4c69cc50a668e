"""Queues of a former BRIDGE_SHARDS or BRIDGE_ORDERED: bound no more, and emptied by whoever has the new settings.

So to change these settings is to start the replicas again, one by one. As long as one of the old ones consumes its
queues they are its own, and both kinds are bound: events come twice then, which their ids tell. Only who consumes its
own queues unbinds another's, and only where nobody consumes that one: of two kinds of replicas never both.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from celery_event_bridge.brokers.rabbitmq.topology import HASH_EXCHANGE, WEIGHT, Topology
from celery_event_bridge.contract import notices

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.questions import Questions

MANY = 256
"""Shards at most, as BRIDGE_SHARDS allows."""
LOOKS = 6
"""Looks after which they are looked for again: RabbitMQ logs each question for a queue that is not there."""


class Former(msgspec.Struct, frozen=True):
    """A queue that these settings do not have, and former ones had."""

    name: str
    ordered: bool
    """True if it has a single active consumer."""
    expired: bool = False
    """True if it is overflow."""


class FormerQueues:
    """Looks for them now and then. Its calls raise what the client raises."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._looks = 0

    def begin(self) -> None:
        """Look at once, on a new connection."""
        self._looks = 0

    def take(self, asking: Questions) -> list[Former]:
        """Return those that nobody consumes, unbound from now on: to be consumed by us."""
        self._looks += 1
        if self._looks % LOOKS != 1:
            return []
        taken = []
        for former in self._there(asking):
            if asking.consumers[former.name]:
                continue
            hashed = former.ordered and asking.exists(f"{self._topology.name}.shards", HASH_EXCHANGE)
            asking.do(partial(self._unbind, former, hashed))
            notices.tell(
                "former-queue",
                f"queue {former.name!r} is of other shards than these settings have: it is unbound, what it holds is "
                "forwarded, and it may be deleted once it is empty",
                subject=former.name,
            )
            taken.append(former)
        return taken

    def _there(self, asking: Questions) -> Iterator[Former]:
        topology, name = self._topology, self._topology.name
        if topology.ordered:
            for former in (Former(name, ordered=False), Former(f"{name}.overflow", ordered=False, expired=True)):
                if asking.depth(former.name) is not None:
                    yield former
        for number in range(len(topology.lives) if topology.ordered else 0, MANY):
            shard = f"{name}.{number}"
            # With a parking queue of its own it is somebody's BRIDGE_QUEUE.
            if asking.depth(shard) is None or asking.depth(f"{shard}.rejected") is not None:
                return
            yield Former(shard, ordered=True)

    def _unbind(self, former: Former, hashed: bool, channel: amqp.Channel) -> None:  # noqa: FBT001 - of a partial
        topology, shards = self._topology, f"{self._topology.name}.shards"
        if not former.expired:
            channel.queue_unbind(former.name, topology.exchange, routing_key="#")
        if hashed:
            if topology.hash_exchange is None:
                channel.exchange_unbind(shards, topology.exchange, routing_key="#")
            channel.queue_unbind(former.name, shards, routing_key=WEIGHT)
