"""World of shards: replicas share queues with a single active consumer each, and the stream keeps an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from celery_event_bridge.contract import Sink
from celery_event_bridge.contract.broker import Source
from tests.simulation import faults
from tests.simulation.contract.stream import Stream
from tests.simulation.faults import Card
from tests.simulation.kinds import BOUND, Kind
from tests.simulation.ordered.order_judge import Order
from tests.simulation.ordered.ordered_sink import OrderedSink
from tests.simulation.ordered.ordered_source import OrderedSource
from tests.simulation.ordered.shards import ShardedRabbitMQ
from tests.simulation.promises import Broken

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process
    from tests.simulation.replica import Replica

PACES = (0.004, 0.4)
"""Seconds that a request of a sink takes, of which a seed draws: with a slow one much is in hand."""
MOST = 4
"""Shards at most."""


def _leave(play: Play, card: Card) -> None:
    _source(play, card).leave(card.much)


def _leave_all(play: Play, card: Card) -> None:
    _source(play, card).leave_all()


def _give_back(play: Play, card: Card) -> None:
    _source(play, card).gives_back = True


def mix(play: Play, card: Card) -> None:
    """Publish many, each fourth of which has to be parked."""
    for _ in range(int(card.seconds(3, 60))):
        play.publish(3)
        play.publish(1, junk=True)


def stop_all(play: Play, card: Card) -> None:
    """Stop one after the other, as a deployment does, while the stream may be away."""
    for number, replica in enumerate(play.replicas):
        play.world.after(number * card.seconds(0.1, 3.0), replica.stop)


def _close_channel(play: Play, card: Card) -> None:
    """Close one at the broker: what it had goes back at once, the others' once the client knows."""
    if connections := [one for one in play.kind.rabbit.connections if one.channels]:
        connection = connections[int(card.who * len(connections))]
        channel = connection.channels[int(card.much * len(connection.channels))]
        play.world.say("RabbitMQ", "closes a channel of", connection.client, channel.queue.name)
        channel.close()
        play.world.after(play.kind.rabbit.delay(), connection.notice, "a channel was closed")


def _source(play: Play, card: Card) -> OrderedSource:
    return cast("OrderedSource", faults.one(play, card).source)


CARDS: faults.Cards = {
    "shard handed over": _leave,
    "all of a replica's shards handed over": _leave_all,
    "all given back": _give_back,
    "channel closed": _close_channel,
    "burst, with some that has to be parked": mix,
    "all replicas stopped, one by one": stop_all,
}
WITHOUT = ("dead letters refused", "dead letters doubled")


class OrderedKind(Kind):
    """See the module's text."""

    cards: ClassVar[Mapping[str, Callable[[Play, Card], None]]] = {
        **faults.OF_REPLICAS,
        **{name: card for name, card in faults.OF_RABBITMQ.items() if name not in WITHOUT},
        **faults.OF_STREAMS,
        **CARDS,
    }
    rates: ClassVar[tuple[float, float]] = (3, 30)
    decks: ClassVar[Sequence[tuple[int, int]]] = ((300, 3), (200, 1), (100, 1), (60, 3))
    """As in others. Where it takes three sorts of cards to find something, a strong preference leaves one out."""
    rabbit: ShardedRabbitMQ

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.order = Order()
        shards = 1 + int(play.world.random.random() * MOST)
        self.rabbit = ShardedRabbitMQ(
            play.world, play.oracle.removed, self.order.taken, shards=shards, bound=BOUND // shards
        )
        self._pace = play.world.between(*PACES)
        self.stream = Stream(play.world, self._stored)

    def _stored(self, event: str, data: bytes) -> None:
        self.play.oracle.stored(event, data)
        self.order.stored(event)

    def source(self, process: Process) -> Source:
        """Make the broker's end of a replica."""
        return OrderedSource(process, self.rabbit, self.play.knobs)

    def sink(self, process: Process) -> Sink:
        """Make the stream's end of a replica."""
        return OrderedSink(process, self.stream, self._pace)

    def consumes(self, replica: Replica) -> bool:
        """Return whether this replica stands in the line of every shard."""
        return all(
            any(one.connection.client == replica.name and one.consuming for one in shard.consumers)
            for shard in self.rabbit.consumed
        )

    def calm(self) -> None:
        """Look whether each line has every replica once."""
        for shard in self.rabbit.consumed:
            if len(shard.consumers) != len(self.play.replicas):
                raise Broken(f"held up: {len(shard.consumers)} consumers stand in the line of {shard.name}")
