"""World of shards on the wire: the real plug-in with `BRIDGE_SHARDS`, before queues with a single active consumer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from celery_event_bridge.brokers.rabbitmq import shard_lane
from celery_event_bridge.contract import Sink
from tests.simulation.contract.stream import Stream
from tests.simulation.faults import Card
from tests.simulation.messages import Published
from tests.simulation.ordered.order_judge import Order
from tests.simulation.ordered.ordered_kind import PACES, mix, stop_all
from tests.simulation.ordered.ordered_sink import OrderedSink
from tests.simulation.ordered.shards import number_of
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import Queue
from tests.simulation.wire.amqp_server import AmqpConnection
from tests.simulation.wire.broker import EXCHANGE, LIVE, Broker
from tests.simulation.wire.declared import Binding
from tests.simulation.wire.wire import PORT, Wire

if TYPE_CHECKING:
    from tests.simulation.line import Line
    from tests.simulation.play import Play
    from tests.simulation.process import Process
    from tests.simulation.replica import Replica

HASHED = f"{LIVE}.shards"
PREFETCHES = (8, 40, 256)
WITHOUT = (
    "dead letters refused",
    "dead letters doubled",
    # What these take away moves workers to another shard, or gives the next in line what follows what is in hand.
    "queue deleted",
    "binding removed",
    "exchange deleted",
    "consumer cancelled",
    "consumer timed out",
)


class ShardedBroker(Broker):
    """A broker with so many shards, once a bridge has declared them."""

    def __init__(
        self,
        play: Play,
        taken: Callable[[Published], None],
        connection: Callable[[Broker, Line], AmqpConnection],
        shards: int,
    ) -> None:
        """`taken` is called with each message that a shard takes."""
        super().__init__(play.world, play.oracle.removed, connection)
        self.shards = shards
        self.names = [f"{LIVE}.{number}" for number in range(shards)]
        self.judged = frozenset(self.names)
        self._taken = taken

    @property
    def consumed(self) -> list[Queue]:
        """Return the shards that are there."""
        return [self.queues[name] for name in self.names if name in self.queues]

    @property
    def is_bound(self) -> bool:
        """Return whether events reach every shard."""
        return Binding(EXCHANGE, HASHED, to_queue=False, key="#") in self.bindings and all(
            Binding(HASHED, name, to_queue=True, key="1") in self.bindings for name in self.names
        )

    def place(self, message: Published) -> Queue:
        """Return the shard of a message."""
        return self.queues[self.names[number_of(message, self.shards)]]

    def publish(self, message: Published, *, expired: bool = False) -> bool:
        """Take a message of a worker."""
        taken = super().publish(message, expired=expired)
        if taken:
            self._taken(message)
        return taken


class WireShards(Wire):
    """See the module's text."""

    cards: ClassVar[Mapping[str, Callable[[Play, Card], None]]] = {
        **{name: card for name, card in Wire.cards.items() if name not in WITHOUT},
        "burst, with some that has to be parked": mix,
        "all replicas stopped, one by one": stop_all,
    }
    restricted: ClassVar[bool] = False
    rabbit: ShardedBroker

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        random = play.world.random
        shards = 2 + int(random.random() * 3)
        self.order = Order()
        self.settings = self.settings.model_copy(update={"shards": shards})
        self.rabbit = ShardedBroker(play, self.order.taken, AmqpConnection, shards)
        self.stream = Stream(play.world, self._stored)
        self._pace = play.world.between(*PACES)
        shard_lane.SHARD_PREFETCH = PREFETCHES[int(random.random() * len(PREFETCHES))]
        play.world.servers[PORT] = self.rabbit.accept

    @staticmethod
    def in_place(_: Callable[[], float]) -> list[tuple[object, str, object]]:
        """Have the prefetch put back that a play sets."""
        return [(shard_lane, "SHARD_PREFETCH", shard_lane.SHARD_PREFETCH)]

    def _stored(self, event: str, data: bytes) -> None:
        self.play.oracle.stored(event, data)
        self.order.stored(event)

    def sink(self, process: Process) -> Sink:
        """Make the stream's end of a replica."""
        return OrderedSink(process, self.stream, self._pace)

    def consumes(self, replica: Replica) -> bool:
        """Return whether this replica stands in the line of every shard."""
        return len(self.rabbit.consumed) == self.rabbit.shards and all(
            any(one.connection.client == replica.name and one.consuming for one in shard.consumers)
            for shard in self.rabbit.consumed
        )

    def calm(self) -> None:
        """Look whether the shards are bound."""
        if not self.rabbit.is_bound:
            raise Broken(f"held up: the shards are not bound {self.recovery:g} s after the last fault")
        self._connected = self.rabbit.connected

    def provoke(self) -> None:
        """Leave all as it is."""
