"""Kind `wire`: the real plug-in for RabbitMQ, with its client, on bytes, before a model that speaks AMQP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

# All that the plug-in imports when it is used: what is imported within a play would keep that world's clock.
from celery_event_bridge.brokers.rabbitmq import parking as _, source as __  # noqa: F401
from celery_event_bridge.brokers.rabbitmq.lanes import QUIET_INTERVAL
from celery_event_bridge.brokers.rabbitmq.plugin import RabbitMQ
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract import LOOK_INTERVAL
from celery_event_bridge.contract.broker import Parking, Source
from tests.simulation import faults
from tests.simulation.contract.judged_source import JudgedSource
from tests.simulation.contract.stream import Stream
from tests.simulation.faults import Card
from tests.simulation.kinds import BOUND, Kind
from tests.simulation.promises import Broken
from tests.simulation.wire import wire_faults
from tests.simulation.wire.amqp_server import AmqpConnection
from tests.simulation.wire.broker import Broker

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process
    from tests.simulation.replica import Replica

PORT = 5672
DEAF_FOR = 2 * QUIET_INTERVAL + LOOK_INTERVAL
"""Seconds after which a consumer that gets nothing has been replaced: nothing is seen until the second look."""


class Wire(Kind):
    """See the module's text."""

    cards: ClassVar[Mapping[str, Callable[[Play, Card], None]]] = {
        **faults.OF_REPLICAS,
        **faults.OF_STREAMS,
        **wire_faults.CARDS,
    }
    rates: ClassVar[tuple[float, float]] = (0.5, 12)
    decks: ClassVar[Sequence[tuple[int, int]]] = ((600, 3), (300, 3), (60, 12), (15, 40))
    """With few, what one of them has done is not undone by the next: whoever connects again sees to everything."""
    rare: ClassVar[Collection[str]] = (*wire_faults.RARE, "all replicas killed")
    seconds: ClassVar[float] = 60.0
    recovery: ClassVar[float] = 45.0
    """Seconds: two heartbeats, a call that waits for its answer, the longest pause, and a start."""

    broker: ClassVar[type[Broker]] = Broker
    rabbit: Broker

    def __init__(self, play: Play) -> None:
        self.play = play
        # Those of every process that starts now.
        self.settings = RabbitMQ.Settings(
            broker_url=f"amqp://bridge:secret@127.0.0.1:{PORT}//",
            prefetch=play.knobs.prefetch,
            max_inflight_bytes=play.knobs.max_inflight_bytes,
            max_message_bytes=play.knobs.max_message_bytes,
            overflow_max_bytes=BOUND,
        )
        self.rabbit = self.broker(play.world, play.oracle.removed, AmqpConnection)
        self.stream = Stream(play.world, play.oracle.stored)
        if not play.knobs.may_declare:
            self.rabbit.declared_for_all(Topology.from_settings(self.settings))
        self._plugins: dict[int, RabbitMQ] = {}
        """By process id."""
        self._connected = 0
        play.world.servers[PORT] = self.rabbit.accept

    def source(self, process: Process) -> Source:
        """Make the broker's end of a replica, as `run` does."""
        plugin = self._plugins[process.number] = RabbitMQ(self.settings)
        return JudgedSource(plugin.source(lambda: "the model"))

    def parking(self, process: Process) -> Parking:
        """Return the parking of the same plug-in."""
        return self._plugins[process.number].parking()

    def killed(self, replica: Replica) -> None:
        """Do nothing: all that it had open are sockets."""

    def is_parked(self, number: int) -> bool:
        """Return whether the parking queue has had the message of that number."""
        return number in self.rabbit.parked

    def consumes(self, replica: Replica) -> bool:
        """Return whether RabbitMQ has a consumer of this replica's on the live queue, and on overflow."""
        return all(
            any(
                channel.connection.client == replica.name and channel.consuming and not channel.deaf
                for channel in queue.consumers
            )
            for queue in (self.rabbit.live, self.rabbit.overflow)
        )

    def check(self) -> None:
        """Do nothing: a line that is silent is noticed by the heartbeat, and holds what was delivered until then."""

    def calm(self) -> None:
        """Look whether what others have taken away is there again."""
        rabbit = self.rabbit
        names = (rabbit.name, f"{rabbit.name}.overflow", f"{rabbit.name}.rejected")
        if missing := [name for name in names if name not in rabbit.queues]:
            raise Broken(f"held up: queue {missing[0]} is not there {self.recovery:g} s after the last fault")
        if not rabbit.is_bound:
            raise Broken(f"held up: the live queue is not bound {self.recovery:g} s after the last fault")
        self._connected = rabbit.connected

    def provoke(self) -> None:
        """Let a queue be declared anew, so that nothing comes from it, while overflow has something all the time."""
        if self.play.world.chance(0.5):
            return
        self.rabbit.replace_queue(self.rabbit.name)
        until = self.play.world.now + DEAF_FOR
        while self.play.world.now < until:
            self.play.publish(len(self.play.replicas), expired=True, plain=True)
            self.play.world.run(self.play.world.now + 0.5)
        if deaf := [replica.name for replica in self.play.replicas if not self.consumes(replica)]:
            raise Broken(f"held up: {deaf[0]} is deaf for over {DEAF_FOR:g} s, and does not notice")

    def finish(self) -> None:
        """Look whether anybody has connected again without a reason."""
        if self.rabbit.connected > self._connected and self.play.knobs.roomy:  # else more came than fits, and went back
            raise Broken("restless: somebody has connected again, though nothing befell it")

    def heal(self) -> None:
        """End whatever a card has begun."""
        super().heal()
        self.rabbit.denied = {} if self.play.knobs.may_declare else {"configure": 1}
        self.rabbit.nacks = 0
        self.play.world.unreachable.clear()
        for connection in [*self.rabbit.connections]:
            if connection.line.silent:
                connection.line.resume()
