"""Broker of the wire: queues, exchanges and bindings by name, declared and deleted by whoever may. See `rabbitmq`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.simulation.line import Line, Server
from tests.simulation.messages import Published
from tests.simulation.rabbitmq.modelled_queues import Queue
from tests.simulation.rabbitmq.modelled_rabbitmq import RabbitMQ
from tests.simulation.scheduler import World
from tests.simulation.wire.declared import Binding, Exchange, NamedQueue, Refused

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.topology import Topology
    from tests.simulation.wire.amqp_server import AmqpConnection

EXCHANGE, LIVE = "celeryev", "celeryev.bridge"
OVERFLOW, REJECTED = f"{LIVE}.overflow", f"{LIVE}.rejected"
VERSIONS = ("3.10.8", "3.13.7", "4.0.5", "4.3.0")
ASKS_FOR_A_RIGHT = "4.3.0"
"""Version from which on a passive declare needs a right too."""
TYPES = ("quorum", "classic", "stream")


class Broker(RabbitMQ):
    """See the module's text."""

    queues: dict[str, NamedQueue]  # type: ignore[assignment]
    connections: list[AmqpConnection]  # type: ignore[assignment]

    def __init__(
        self,
        world: World,
        removed: Callable[[Published, str, str], None],
        connection: Callable[[Broker, Line], AmqpConnection],
    ) -> None:
        """`connection` makes the server's end of one."""
        self._connection, self._judge = connection, removed
        self.name, self.operator = LIVE, ""  # of the live queue by the present settings; of a command that is heard now
        self.version = VERSIONS[int(world.random.random() * len(VERSIONS))]
        self.exchanges: dict[str, Exchange] = {"": Exchange("direct", auto_delete=False)}
        self.bindings: dict[Binding, None] = {}
        self.denied: dict[str, int] = {}
        """Rights that are withdrawn now, and by how many cards: configure, write, read, login."""
        self.messages: dict[int, Published] = {}
        """All that were taken, by number."""
        self.by_body: dict[bytes, int] = {}
        self.nacks = 0
        """Messages to come that are published and refused."""
        self.connected = 0
        """Connections that were made to consume."""
        self.declares_itself = True
        """True where the bridge's user may declare; else somebody does, and again what is deleted."""
        self._alarm = False
        self._slow = 0.0
        self._nowhere = Queue(self, "nowhere", 0, None, rejects=False)
        self.judged, self.shards = frozenset({LIVE, OVERFLOW}), 0  # queues that bridges acknowledge in; shards of them
        super().__init__(world, self._leaves, bound=0, overflow=0)

    def begin(self) -> None:
        """Have the exchange, which workers declare, or not yet."""
        if self.world.chance(0.5):
            self.exchanges[EXCHANGE] = Exchange("topic", auto_delete=False)

    def declared_for_all(self, topology: Topology) -> None:
        """Have the queues that somebody has declared, who may; the bridge's user may not."""
        self.declares_itself = False
        if self.version == ASKS_FOR_A_RIGHT:
            self.version = VERSIONS[0]
        for queue in topology.queues:
            self.queues[queue.name] = NamedQueue(self, queue.name, queue.arguments, auto_delete=False)
        self.exchanges[topology.exchange] = Exchange("topic", auto_delete=False)
        self.bindings[Binding(topology.exchange, topology.live.name, to_queue=True, key="#")] = None
        self.denied["configure"] = 1

    @property
    def live(self) -> Queue:
        """Return the live queue, or an empty one if it is not there."""
        return self.queues.get(self.name, self._nowhere)

    @property
    def overflow(self) -> Queue:
        """Return the queue of what has expired, or an empty one if it is not there."""
        return self.queues.get(f"{self.name}.overflow", self._nowhere)

    @property
    def nowhere(self) -> Queue:
        """Return a queue that holds nothing."""
        return self._nowhere

    def target(self, queue: Queue) -> Queue | None:
        """Return the queue that the dead-letter route of another names."""
        assert isinstance(queue, NamedQueue)
        return self.queues.get(queue.arguments.get("x-dead-letter-routing-key", ""))

    def publish(self, message: Published, *, expired: bool = False) -> bool:
        """Take a message of a worker; False where no queue gets it, or nobody can tell."""
        if not self.is_bound or not super().publish(message, expired=expired):
            return False
        self.messages[message.number] = message
        self.by_body[message.body] = message.number
        return True

    def _leaves(self, message: Published, queue: str, how: str) -> None:
        if queue in self.judged:
            self.world.say(queue, how, message.number)
            self._judge(message, queue, how)

    # What is declared -----------------------------------------------------------------------------------------------

    def may(self, right: str, what: str) -> None:
        """Raise Refused where a right is withdrawn."""
        if self.denied.get(right):
            raise Refused(403, f"ACCESS_REFUSED - {right} access to {what} in vhost '/' refused for user 'bridge'")

    def queue(self, name: str) -> NamedQueue:
        """Return a queue. Raises Refused."""
        if name not in self.queues:
            raise Refused(404, f"NOT_FOUND - no queue '{name}' in vhost '/'")
        self.queues[name].used_at = self.world.now
        return self.queues[name]

    def exchange(self, name: str) -> Exchange:
        """Return an exchange. Raises Refused."""
        if name not in self.exchanges:
            raise Refused(404, f"NOT_FOUND - no exchange '{name}' in vhost '/'")
        return self.exchanges[name]

    def declare_queue(self, name: str, arguments: Mapping[str, Any], *, durable: bool, auto_delete: bool) -> NamedQueue:
        """Return a queue that has these arguments, made anew if it was not there. Raises Refused."""
        self.may("configure", f"queue '{name}'")
        if name in self.queues:
            found = self.queue(name).arguments
            names = sorted({*found, *arguments}, key=lambda each: (each == "x-queue-type", each))
            for each in names:
                if found.get(each) != arguments.get(each):
                    raise Refused(
                        406,
                        f"PRECONDITION_FAILED - inequivalent arg '{each}' for queue '{name}' in vhost '/': received "
                        f"'{arguments.get(each)}' but current is '{found.get(each)}'",
                    )
            return self.queues[name]
        kind = arguments.get("x-queue-type", "classic")
        if kind not in TYPES or (kind != "classic" and not durable):
            raise Refused(406, f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '{name}' in vhost '/'")
        self.queues[name] = queue = NamedQueue(self, name, arguments, auto_delete=auto_delete)
        self.world.say("RabbitMQ", "has a queue", name)
        if "x-expires" in arguments:
            self._expire(queue, arguments["x-expires"] / 1000)
        return queue

    def _expire(self, queue: NamedQueue, seconds: float) -> None:
        queue.used_at = self.world.now
        self.world.after(seconds, self._look_at_unused, queue, seconds)

    def _look_at_unused(self, queue: NamedQueue, seconds: float) -> None:
        left = queue.used_at + seconds - self.world.now
        if queue.there and left > 0:
            self.world.after(left, self._look_at_unused, queue, seconds)
        elif queue.there:
            self.delete_queue(queue.name)

    def delete_queue(self, name: str, *, tells: bool = True) -> int:
        """Take a queue away, with its bindings; cancel its consumers, or leave them deaf. Return what it held."""
        queue = self.queues.pop(name)
        count = len(queue)
        self.world.say("RabbitMQ", "has no longer the queue", name, count)
        consumers = [channel for channel in queue.consumers if channel.consuming]
        in_hand = [
            entry
            for connection in self.connections
            for channel in connection.channels
            for entry in (*channel.unacknowledged.values(), *channel.kept)
            if entry.queue is queue
        ]
        queue.delete(in_hand)
        for binding in [*self.bindings]:
            if binding.to_queue and binding.destination == name:
                self.unbind(binding)
        for channel in consumers:
            channel.lose_queue(tells=tells)
        return count

    def holders(self, queue: Queue) -> int:
        """Count who has got a message and not acknowledged it: a quorum queue takes each for a consumer."""
        channels = [one for connection in self.connections for one in connection.channels if not one.consuming]
        return sum(any(entry.queue is queue for entry in one.unacknowledged.values()) for one in channels)

    def replace_queue(self, name: str) -> None:
        """Delete a queue and declare it at once: its consumers are told nothing, and get nothing (seen with 3.10.8)."""
        before = self.queues[name]
        consumers = [channel for channel in before.consumers if channel.consuming]
        self.delete_queue(name, tells=False)
        self.queues[name] = queue = NamedQueue(self, name, before.arguments, auto_delete=before.auto_delete)
        for channel in consumers:
            channel.turn_deaf(queue)

    def consumer_gone(self, queue: Queue) -> None:
        """Let a queue go with its last consumer, if it is of that kind."""
        if not isinstance(queue, NamedQueue) or not queue.auto_delete or not queue.there or queue.consumed_by:
            return
        if self.up or self.world.chance(0.5):  # a broker that ends keeps some of them
            self.delete_queue(queue.name)

    def declare_exchange(self, name: str, kind: str, *, auto_delete: bool) -> None:
        """Have an exchange of that kind. Raises Refused."""
        self.may("configure", f"exchange '{name}'")
        found = self.exchanges.setdefault(name, Exchange(kind, auto_delete))
        if found.kind != kind:
            raise Refused(
                406,
                f"PRECONDITION_FAILED - inequivalent arg 'type' for exchange '{name}' in vhost '/': received '{kind}' "
                f"but current is '{found.kind}'",
            )

    def have_exchange(self) -> None:
        """Declare the exchange of events, as any worker does."""
        self.exchanges.setdefault(EXCHANGE, Exchange("topic", auto_delete=False))

    def grant(self, right: str) -> None:
        """End one withdrawal of a right."""
        self.denied[right] = max(0, self.denied.get(right, 0) - 1)

    def delete_exchange(self, name: str) -> None:
        """Take an exchange away, with its bindings."""
        if self.exchanges.pop(name, None) is not None:
            for binding in [*self.bindings]:
                if binding.source == name or (binding.destination == name and not binding.to_queue):
                    self.unbind(binding)

    def bind(self, binding: Binding) -> None:
        """Make a binding, if it is not there. Raises Refused."""
        kind = "queue" if binding.to_queue else "exchange"
        self.may("write", f"{kind} '{binding.destination}'")
        self.may("read", f"exchange '{binding.source}'")
        self.exchange(binding.source)
        if binding.to_queue:
            self.queue(binding.destination)
        else:
            self.exchange(binding.destination)
        self.bindings[binding] = None

    def unbind(self, binding: Binding) -> None:
        """Remove a binding, and its exchange where that was its last and it is of that kind."""
        if binding in self.bindings:
            del self.bindings[binding]
            source = self.exchanges.get(binding.source)
            if source and source.auto_delete and not any(each.source == binding.source for each in self.bindings):
                self.delete_exchange(binding.source)

    # What befalls it ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all connections, with a word or without; what was confirmed stays."""
        self.up = False
        for connection in [*self.connections]:
            connection.die(with_a_word=self.world.chance(0.5))

    @property
    def alarm(self) -> bool:  # type: ignore[override]
        """Tell whether it blocks whoever publishes."""
        return self._alarm

    @alarm.setter
    def alarm(self, on: bool) -> None:
        self._alarm = on
        if not on:
            for connection in [*self.connections]:
                connection.unblock()

    @property
    def slow(self) -> float:  # type: ignore[override]
        """Return the seconds that each frame takes longer."""
        return self._slow

    @slow.setter
    def slow(self, seconds: float) -> None:
        self._slow = seconds
        for connection in self.connections:
            connection.line.extra = seconds

    def accept(self, line: Line) -> Server | None:
        """Let a client in; see `tests.simulation.line.Accept`."""
        if not self.up:
            return None
        line.extra = self._slow
        connection = self._connection(self, line)
        self.connections.append(connection)
        return connection

    @property
    def is_bound(self) -> bool:
        """Return whether events reach the live queue."""
        return self.binds(self.name)

    def binds(self, queue: str) -> bool:
        """Return whether events reach a queue."""
        return Binding(EXCHANGE, queue, to_queue=True, key="#") in self.bindings
