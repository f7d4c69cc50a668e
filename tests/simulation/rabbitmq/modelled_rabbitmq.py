"""Model of RabbitMQ: connections, channels with a prefetch, acknowledgements that are held back.

The rules are in docs/reference/simulation.md, with where each was measured. A connection's frames arrive in order, each
after a delay; with the connection dies what is under way in either direction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tests.simulation.messages import Published
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import TTL, Entry, Queue
from tests.simulation.scheduler import World

FEW_ACKS = 32
"""Single acknowledgements of a channel past which a quorum queue's client holds back the rest."""
HELD_BACK = 0.1
"""Seconds after which it sends them at the latest."""


class Channel:
    """A channel with one consumer, on a connection."""

    def __init__(self, connection: Connection, queue: Queue) -> None:
        self.connection = connection
        self.queue = queue
        self.prefetch = 0
        self.outstanding = 0
        """Messages of the present consumer that are not acknowledged."""
        self.consuming = False
        self.open = True
        self.tag = 0
        self.unacknowledged: dict[int, Entry] = {}
        self.lane: object = None
        """Object by which the client knows it."""
        self._held_back: list[int] = []
        self._singles = 0
        self._first = 0
        """Last tag of the consumers before the present one."""

    def consume(self, prefetch: int) -> None:
        """Begin to deliver; what an earlier consumer has in hand does not count against the prefetch."""
        if not self.connection.open:
            return  # its client does not know yet, and has asked nobody
        self.prefetch = prefetch
        self.outstanding = 0
        self._first = self.tag
        self.consuming = True
        if self not in self.queue.consumers:
            self.queue.consumers.append(self)
        self.queue.pump()

    def cancel(self) -> None:
        """Deliver no more."""
        self.consuming = False

    def deliver(self, entries: list[Entry]) -> None:
        """Write these to the connection."""
        tags = range(self.tag - len(entries) + 1, self.tag + 1)
        deliveries = [(self, tag, self.unacknowledged[tag]) for tag in tags]
        self.connection.to_client(deliveries)

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Take an acknowledgement that has arrived."""
        if not self.open:
            return
        if tag not in self.unacknowledged:
            raise AssertionError(f"406: unknown delivery tag {tag} on {self.connection.client}")
        if multiple:
            self._apply([one for one in self.unacknowledged if one <= tag])
            self._held_back, self._singles = [], 0
            return
        self._singles += 1
        if self._singles <= FEW_ACKS:
            self._apply([tag])
        else:
            self._held_back.append(tag)
            self.connection.rabbit.world.after(HELD_BACK, self._send_held_back)

    def _send_held_back(self) -> None:
        if self.open:
            self._apply([tag for tag in self._held_back if tag in self.unacknowledged])
            self._held_back, self._singles = [], 0

    def _apply(self, tags: list[int]) -> None:
        entries = [self._let_go(tag) for tag in tags]
        for entry in entries:
            entry.queue.take(entry)
        for queue in dict.fromkeys(entry.queue for entry in entries):
            queue.pump()

    def reject(self, tag: int) -> None:
        """Take one back."""
        if self.open:
            entry = self._let_go(tag)
            entry.queue.give_back([entry])

    def _let_go(self, tag: int) -> Entry:
        self.outstanding -= tag > self._first
        return self.unacknowledged.pop(tag)

    def close(self, *, in_order: bool = False) -> None:
        """End it: what is not acknowledged goes back. Raises Broken where that is more than a clean stop may cost."""
        if self.open:
            if in_order and self._held_back:
                raise Broken(f"twice: {len(self._held_back)} acknowledgements of {self.connection.client} die with it")
            self.open = self.consuming = False
            self.queue.consumers = [one for one in self.queue.consumers if one is not self]
            entries, self.unacknowledged = list(self.unacknowledged.values()), {}
            for queue in dict.fromkeys(entry.queue for entry in entries):
                queue.give_back([entry for entry in entries if entry.queue is queue])
            self.queue.pump()  # it is another one's turn


class Connection:
    """A client's connection, seen from the broker."""

    def __init__(
        self, rabbit: RabbitMQ, client: str, arrived: Callable[[list[tuple[Channel, int, Entry]]], None]
    ) -> None:
        self.rabbit = rabbit
        self.client = client
        self.open = True
        self.channels: list[Channel] = []
        self.error: str | None = None
        """Reason why it is gone, once the client could know it."""
        self.lost = lambda: None
        """Called when the client could know it."""
        self._arrived = arrived
        self._to_client_at = self._to_broker_at = 0.0

    def to_client(self, deliveries: list[tuple[Channel, int, Entry]]) -> None:
        """Let these arrive after those before them."""
        world = self.rabbit.world
        self._to_client_at = max(self._to_client_at, world.now + self.rabbit.delay())
        world.at(self._to_client_at, self._deliver, deliveries)

    def _deliver(self, deliveries: list[tuple[Channel, int, Entry]]) -> None:
        if self.open:
            self._arrived(deliveries)

    def to_broker(self, call: Callable[..., None], *arguments: object) -> None:
        """Let a frame arrive after those before it."""
        world = self.rabbit.world
        self._to_broker_at = max(self._to_broker_at, world.now + self.rabbit.delay())
        world.at(self._to_broker_at, self._take, call, arguments)

    def _take(self, call: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self.open:
            return
        if self.rabbit.stalled:
            # Without a leader a queue answers nothing; its clients send again what it did not answer.
            self.rabbit.when_there(lambda: self._take(call, arguments))
            return
        call(*arguments)

    def cut(self, why: str, *, noticed_after: float = 0.0) -> None:
        """End it; the client can know it later only, where its peer is gone without a word."""
        if not self.open:
            return
        self.open = False
        self.rabbit.connections.remove(self)
        for channel in self.channels:
            channel.close()
        self.rabbit.world.after(noticed_after, self.notice, why)

    def notice(self, why: str) -> None:
        """Let the client know that it is gone."""
        self.error = why
        self.lost()


class RabbitMQ:
    """A broker with the three queues of the contract."""

    def __init__(
        self, world: World, removed: Callable[[Published, str, str], None], *, bound: int, overflow: int
    ) -> None:
        self.world = world
        self.removed = removed
        """Called with a message that leaves a queue, the queue's name, and how it leaves."""
        self.queues: dict[str, Queue] = {}
        """Those that are there, by name."""
        self.bound, self.overflow_bound = bound, overflow
        self.parked: Counter[int] = Counter()
        """Copies in the parking queue, by the message's number."""
        self.connections: list[Connection] = []
        self.up = True
        self.alarm = False
        """True while it blocks whoever publishes."""
        self.stalled = False
        """True while its queues have no leader."""
        self.route_broken = False
        """True while dead letters are refused."""
        self.doubles = 0
        """Dead letters that come twice, as their confirm is lost."""
        self.parking_outages = 0
        """Outages of the parking queue that are not over: nothing can be published to it."""
        self.refuses_large = False
        """True while it refuses to have large messages published: its largest message is set smaller."""
        self.has_refused = False
        """True once it has refused one."""
        self.refuses_queue = False
        """True while a queue of ours is there with other arguments."""
        self.slow = 0.0
        """Seconds that each frame takes longer."""
        self._waiting: list[Callable[[], None]] = []
        self.begin()

    def begin(self) -> None:
        """Have what is there before anybody comes."""
        self.queues["live"] = Queue(self, "live", self.bound, TTL, rejects=True)
        self.queues["overflow"] = Queue(self, "overflow", self.overflow_bound, None, rejects=False)

    @property
    def live(self) -> Queue:
        """Return the queue that workers publish to."""
        return self.queues["live"]

    @property
    def overflow(self) -> Queue:
        """Return the queue of what has expired."""
        return self.queues["overflow"]

    @property
    def consumed(self) -> Sequence[Queue]:
        """Return the queues that bridges consume."""
        return (self.live, self.overflow)

    def entered(self, message: Published) -> None:
        """Take note that a queue has a message once more."""

    def target(self, _: Queue) -> Queue | None:
        """Return the queue to which dead letters go, if it is there."""
        return self.overflow

    def delay(self) -> float:
        """Draw how long a frame is under way."""
        return self.slow + 0.0002 + 0.002 * self.world.random.random()

    def publish(self, message: Published, *, expired: bool = False) -> bool:
        """Take a message of a worker; False where the queue refuses it, or nobody can tell.

        One that is `expired` is in overflow at once.
        """
        queue = self.place(message)
        if not self.up or self.alarm or self.stalled or queue.full(len(message.body)):
            return False
        (self.overflow if expired else queue).add(message, expired=expired)
        return True

    def place(self, message: Published) -> Queue:
        """Return the queue that a worker's message goes to."""
        return self.live

    def connect(self, client: str, arrived: Callable[[list[tuple[Channel, int, Entry]]], None]) -> Connection:
        """Let a client in."""
        connection = Connection(self, client, arrived)
        self.connections.append(connection)
        return connection

    def end_parking_outage(self) -> None:
        """End one of several."""
        self.parking_outages = max(0, self.parking_outages - 1)

    def stop(self) -> None:
        """End all connections; what was confirmed stays."""
        self.up = False
        for connection in [*self.connections]:
            connection.cut("RabbitMQ is gone")

    def start(self) -> None:
        """Be there again."""
        self.up = True

    def lose_leader(self, seconds: float) -> None:
        """Answer nothing until another leader is there."""
        self.stalled = True
        self.world.after(seconds, self._has_leader)

    def when_there(self, call: Callable[[], None]) -> None:
        """Make a call once there is a leader."""
        self._waiting.append(call)

    def _has_leader(self) -> None:
        if not self.stalled:
            return
        self.stalled = False
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()
        for queue in [*self.queues.values()]:
            queue.expire()
            queue.pump()
