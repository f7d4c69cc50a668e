"""Model of queues with a single active consumer, to which messages go by the name of their worker."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from tests.simulation.messages import Published
from tests.simulation.rabbitmq.modelled_queues import Queue
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel, RabbitMQ
from tests.simulation.scheduler import World


class Shard(Queue):
    """A quorum queue that delivers to the first in line alone, for as long as its channel is open and not cancelled."""

    def turn(self) -> Channel | None:
        """Return whose turn it is, if that one has room."""
        active = next((one for one in self.consumers if one.consuming), None)
        return active if active is not None and active.outstanding < active.prefetch else None


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
        # What names no worker has no order to keep.
        worker = message.headers.get("hostname", str(message.number))
        shard = self._shards[zlib.crc32(worker.encode()) % self._count]
        if not self.up or self.alarm or self.stalled or shard.full(len(message.body)):
            return False
        self._taken(message)
        shard.add(message)
        return True
