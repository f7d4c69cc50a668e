"""Model of queues with a single active consumer, to which messages go by the name of their worker."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from tests.simulation.messages import Published
from tests.simulation.rabbitmq.modelled_queues import Queue
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel, RabbitMQ
from tests.simulation.scheduler import World


def first_in_line(queue: Queue) -> Channel | None:
    """Return the single active consumer of a queue, if it has room."""
    active = next((one for one in queue.consumers if one.consuming), None)
    return active if active is not None and active.outstanding < active.prefetch else None


class Shard(Queue):
    """A quorum queue that delivers to the first in line alone, for as long as its channel is open and not cancelled."""

    def turn(self) -> Channel | None:
        """Return whose turn it is, if that one has room."""
        return first_in_line(self)


class ShardedRabbitMQ(RabbitMQ):
    """A broker with so many shards, and nothing else."""

    def __init__(
        self,
        world: World,
        removed: Callable[[Published, str, str], None],
        taken: Callable[[Published], None],
        *,
        shards: int,
        bound: int,
    ) -> None:
        """`taken` is called with each message that a shard takes, before anybody may have it."""
        self._taken = taken
        self._count = shards
        super().__init__(world, removed, bound=bound, overflow=0)

    def begin(self) -> None:
        """Have the shards."""
        for number in range(self._count):
            name = f"shard {number}"
            self.queues[name] = Shard(self, name, self.bound, None, rejects=True)
        self._shards = [*self.queues.values()]

    @property
    def consumed(self) -> Sequence[Queue]:
        """Return the shards."""
        return self._shards

    def publish(self, message: Published, *, expired: bool = False) -> bool:
        """Take a message of a worker; False where its shard refuses it, or nobody can tell."""
        assert not expired, "a shard has no overflow"
        taken = super().publish(message)
        if taken:
            self._taken(message)
        return taken

    def place(self, message: Published) -> Queue:
        """Return the shard of a message."""
        return self._shards[number_of(message, self._count)]


def number_of(message: Published, shards: int) -> int:
    """Return the number of a message's shard. What names no worker has no order to keep."""
    worker = message.headers.get("hostname", str(message.number))
    return zlib.crc32(worker.encode()) % shards
