"""Kinds of worlds: which ends a replica has, and which cards are dealt there.

`contract`, here, has models behind the contract's protocols at both ends: it is the fastest. Other kinds put the real
plug-in or sink in the place of a model, and the model one step further away: on the wire, or in the client's place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.contract import Sink
from celery_event_bridge.contract.broker import Parking, Source
from tests.simulation import faults
from tests.simulation.contract.parking import ModelParking
from tests.simulation.contract.source import ModelSource
from tests.simulation.contract.stream import ModelSink, Stream
from tests.simulation.faults import Card
from tests.simulation.messages import POISON
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import TTL
from tests.simulation.rabbitmq.modelled_rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process
    from tests.simulation.replica import Replica

BOUND, OVERFLOW = 4_000_000, 4_000_000
PINNED = TTL + 10.0
"""Seconds after which what cannot be parked is in the live queue no more: its time to live, a margin of a second, and
what a slow broker and a slow stream take."""


class Kind:
    """The kind `contract`. Others derive from it and replace an end."""

    cards: ClassVar[Mapping[str, Callable[[Play, Card], None]]] = {
        **faults.OF_REPLICAS,
        **faults.OF_RABBITMQ,
        **faults.OF_STREAMS,
    }

    played_by: ClassVar[str] = "tests.simulation.play:Play"
    """Class of a play in it."""
    count: int = 3
    """Replicas."""
    relay: ClassVar[Mapping[str, Any]] = {}
    """Settings of the relay that are others than usual."""
    scarce: ClassVar[bool] = True
    """True where memory may be scarce for the messages; a real sink that sends one by one then takes minutes."""
    restricted: ClassVar[bool] = True
    """True where the bridge's user may be one who may not declare."""
    rates: ClassVar[tuple[float, float]] = (0.2, 30)
    """Messages a round, at least and at most, of which a seed draws a number."""
    decks: ClassVar[Sequence[tuple[int, int]]] = ((300, 3), (300, 3), (60, 8), (20, 20))
    """Numbers of cards, and how much each prefers a few of their names; a seed draws one of them."""
    rare: ClassVar[Collection[str]] = ()
    """Cards after which little goes on for a while: a tenth of what they would be."""
    seconds: ClassVar[float] = 30.0
    """Simulated seconds in which the cards are dealt."""
    recovery: ClassVar[float] = 25.0
    """Seconds after the last fault within which every replica consumes again: the longest pause between two attempts,
    the longest wait for a heartbeat, and a start."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self._calm_from = 0.0
        self.rabbit = RabbitMQ(play.world, play.oracle.removed, bound=BOUND, overflow=OVERFLOW)
        self.stream = Stream(play.world, play.oracle.stored)

    @staticmethod
    def in_place(_: Callable[[], float]) -> list[tuple[object, str, object]]:
        """Return what else has to be replaced for the length of a play: an object, its attribute, and the value."""
        return []

    def refuses(self, data: bytes) -> bool:
        """Return whether the stream will never take an event."""
        return POISON.encode() in data

    def source(self, process: Process) -> Source:
        """Make the broker's end of a replica."""
        return ModelSource(process, self.rabbit, self.play.knobs)

    def parking(self, process: Process) -> Parking:
        """Make the parking's end of a replica."""
        return ModelParking(process, self.rabbit, self.play.knobs.max_message_bytes)

    def sink(self, process: Process) -> Sink:
        """Make the stream's end of a replica."""
        return ModelSink(process, self.stream)

    def killed(self, replica: Replica) -> None:
        """Close what a killed process had open and is no socket of `network`: the kernel does."""
        replica.source.drop()
        replica.parking.close()

    def is_stored(self, event: str) -> bool:
        """Return whether the stream has an event of that id."""
        return event in self.stream.counts

    def is_parked(self, number: int) -> bool:
        """Return whether the parking queue has the message of that number."""
        return number in self.rabbit.parked

    def consumes(self, replica: Replica) -> bool:
        """Return whether RabbitMQ has a consumer of this replica's on the live queue."""
        consumers = self.rabbit.live.consumers
        return any(one.connection.client == replica.name and one.consuming for one in consumers)

    def check(self) -> None:
        """Raise Broken where what cannot be parked stays in the live queue, whose log it would pin on the disk."""
        if type(self) is not Kind:
            return  # a real sink's call may take seconds, in which the loop gives nothing back
        now, rabbit = self.play.world.now, self.rabbit
        if rabbit.alarm or rabbit.slow or rabbit.stalled or not rabbit.up:
            self._calm_from = now + PINNED  # what is published and not confirmed stays, say
        if now < self._calm_from:
            return
        clients = {replica.name: replica.process for replica in self.play.replicas}
        for channel in self.rabbit.live.consumers:
            process = clients.get(channel.connection.client)
            if process is None or now - process.frozen_until < PINNED:
                continue
            for entry in channel.unacknowledged.values():
                if entry.message.junk and now - entry.delivered > PINNED:
                    raise Broken(f"pinned: message {entry.message.number} is held in live for over {PINNED:g} s")

    def copies(self, event: str) -> int:
        """Return how often the stream has an event of that id."""
        return self.stream.counts[event]

    def calm(self) -> None:
        """Look at what has to be so once all have recovered. Raises Broken."""

    def provoke(self) -> None:
        """Let something happen that has to be noticed even though nothing else does. Raises Broken."""

    def finish(self) -> None:
        """Look at the end at what has to be so then. Raises Broken."""

    def judge(self) -> None:
        """Judge the stream itself, at the end. Raises Broken."""

    def undo(self) -> None:
        """Release what the kind has opened; all processes are killed."""

    def heal(self) -> None:
        """End whatever a card has begun."""
        rabbit, stream = self.rabbit, self.stream
        rabbit.alarm = rabbit.route_broken = rabbit.refuses_queue = False
        rabbit.parking_outages = rabbit.doubles = 0
        rabbit.refuses_large = False
        rabbit.slow = stream.slow = 0.0
        stream.outages = 0
        rabbit.start()
        for replica in self.play.replicas:
            if isinstance(replica.sink, ModelSink):
                replica.sink.heal()
            if isinstance(replica.parking, ModelParking):
                replica.parking.refuse = 0


KINDS: Mapping[str, str] = {
    "contract": "tests.simulation.kinds:Kind",
    "account": "tests.simulation.account.account_kind:AccountKind",
    "ordered": "tests.simulation.ordered.ordered_kind:OrderedKind",
    "wire": "tests.simulation.wire.wire:Wire",
    "shards": "tests.simulation.ordered.wire_shards:WireShards",
    "operators": "tests.simulation.operators.operators_kind:Operators",
    "sqlite": "tests.simulation.sqlite.sqlite_kind:SqliteKind",
    "reading": "tests.simulation.sqlite.reading_kind:ReadingKind",
    "kafka": "tests.simulation.kafka.kafka_kind:KafkaKind",
    "redis": "tests.simulation.redis.redis_kind:RedisKind",
    "pubsub": "tests.simulation.pubsub.pubsub_kind:PubSubKind",
    "gaps": "tests.simulation.pubsub.gaps_kind:GapsKind",
}
"""By name, where each is: a module is imported only if its kind is asked for, as it needs its client."""


def kind_of(name: str) -> type[Kind]:
    """Return a kind by its name."""
    found: type[Kind] = imported(KINDS[name])
    return found


def imported(name: str) -> Any:
    """Return what is called `module:name`."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
