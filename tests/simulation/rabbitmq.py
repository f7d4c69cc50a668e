"""Model of RabbitMQ: quorum queues with a time to live, dead letters at least once, bounds, prefetch, confirms.

The rules are in docs/reference/simulation.md, with where each was measured. A connection's frames arrive in order, each
after a delay; with the connection dies what is under way in either direction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from tests.simulation.messages import Published
from tests.simulation.world import World

TTL = 5.0
"""Seconds after which a message leaves the live queue for overflow."""
RETRY_DEAD_LETTERS = 180.0
"""Seconds after which RabbitMQ tries a dead-letter route again that failed."""
FEW_ACKS = 32
"""Single acknowledgements of a channel past which a quorum queue's client holds back the rest."""
HELD_BACK = 1.0
"""Seconds after which it sends them all the same."""


class Entry:
    """A message in a queue."""

    __slots__ = ("arrived", "expired", "message", "place", "returned")

    def __init__(self, message: Published, arrived: float, place: int, *, expired: bool) -> None:
        self.message = message
        self.arrived = arrived
        self.place = place
        """Number in the order of arrival."""
        self.expired = expired
        """True if it came by its dead-letter route."""
        self.returned = False
        """True if it was delivered before."""


class Queue:
    """A quorum queue."""

    def __init__(self, rabbit: RabbitMQ, name: str, max_bytes: int, ttl: float | None, *, rejects: bool) -> None:
        self.rabbit = rabbit
        self.name = name
        self.ttl = ttl
        self.max_bytes = max_bytes
        self.rejects = rejects
        """True where a full queue refuses what is published; else it drops its oldest."""
        self.ready: deque[Entry] = deque()
        self.returned: deque[Entry] = deque()
        """Delivered before, and to be delivered first, by place."""
        self.in_limbo: list[Entry] = []
        """Expired, and waiting for their dead-letter route."""
        self.size = 0
        self.consumers: list[Channel] = []
        self.there = True
        """False while somebody has taken it away: only of overflow, which nothing was in."""
        self._turn = 0
        self._places = 0
        self._looked = False

    def __len__(self) -> int:
        return len(self.ready) + len(self.returned)

    def full(self, size: int) -> bool:
        """Return whether it takes no message of that size."""
        return self.rejects and self.size + size > self.max_bytes

    def add(self, message: Published, *, expired: bool = False) -> None:
        """Take a message at its end, and drop the oldest past its bound."""
        self._places += 1
        entry = Entry(message, self.rabbit.world.now, self._places, expired=expired)
        self.ready.append(entry)
        self.size += len(message.body)
        while not self.rejects and self.size > self.max_bytes and len(self):
            dropped = (self.returned or self.ready).popleft()
            self._gone(dropped, "dropped")
        self._look_later()
        self.pump()

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Take back what was delivered. What has outlived its time leaves at once."""
        for entry in entries:
            entry.returned = True
            self.returned.append(entry)
        self.returned = deque(sorted(self.returned, key=lambda entry: entry.place))
        self.expire()
        self.pump()

    def take(self, entry: Entry) -> None:
        """Remove a message that was acknowledged."""
        self._gone(entry, "acknowledged")

    def _gone(self, entry: Entry, how: str) -> None:
        self.size -= len(entry.message.body)
        self.rabbit.removed(entry.message, self.name, how)

    def expire(self) -> None:
        """Let those at the head that have outlived their time go to their dead-letter route."""
        self._looked = False
        if self.ttl is None or self.rabbit.stalled:
            return
        before = self.rabbit.world.now - self.ttl
        for queue in (self.returned, self.ready):
            while queue and queue[0].arrived <= before:
                self._dead_letter(queue.popleft())
        self._look_later()

    def _look_later(self) -> None:
        if self.ttl is None or self._looked or not len(self):
            return
        self._looked = True
        oldest = min(queue[0].arrived for queue in (self.returned, self.ready) if queue)
        self.rabbit.world.after(max(0.01, oldest + self.ttl - self.rabbit.world.now), self.expire)

    def _dead_letter(self, entry: Entry) -> None:
        """Send it to overflow, and forget it once it is there: at least once."""
        overflow = self.rabbit.overflow
        if not overflow.there or self.rabbit.route_broken:
            self.in_limbo.append(entry)
            self.rabbit.world.after(RETRY_DEAD_LETTERS, self._retry, entry)
            return
        overflow.add(entry.message, expired=True)
        # A confirm that is lost makes it come a second time.
        if self.rabbit.doubles:
            self.rabbit.doubles -= 1
            overflow.add(entry.message, expired=True)
        self._gone(entry, "dead-lettered")

    def _retry(self, entry: Entry) -> None:
        if entry in self.in_limbo:
            self.in_limbo.remove(entry)
            self._dead_letter(entry)

    def pump(self) -> None:
        """Deliver what is ready to consumers that have room, in turn."""
        if self.rabbit.stalled:
            return
        batches: dict[Channel, list[Entry]] = {}
        while len(self):
            room = [one for one in self.consumers if one.consuming and one.outstanding < one.prefetch]
            if not room:
                break
            self._turn += 1
            channel = room[self._turn % len(room)]
            entry = (self.returned or self.ready).popleft()
            channel.tag += 1
            channel.outstanding += 1
            channel.unacknowledged[channel.tag] = entry
            batches.setdefault(channel, []).append(entry)
        for channel, entries in batches.items():
            channel.deliver(entries)


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
        for tag in tags:
            self.queue.take(self._let_go(tag))
        self.queue.pump()

    def reject(self, tag: int) -> None:
        """Take one back."""
        if self.open:
            self.queue.give_back([self._let_go(tag)])

    def _let_go(self, tag: int) -> Entry:
        self.outstanding -= tag > self._first
        return self.unacknowledged.pop(tag)

    def close(self) -> None:
        """End it: what is not acknowledged goes back."""
        if self.open:
            self.open = self.consuming = False
            self.queue.consumers = [one for one in self.queue.consumers if one is not self]
            entries, self.unacknowledged = list(self.unacknowledged.values()), {}
            self.queue.give_back(entries)


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
        world.after(self._to_client_at - world.now, self._deliver, deliveries)

    def _deliver(self, deliveries: list[tuple[Channel, int, Entry]]) -> None:
        if self.open:
            self._arrived(deliveries)

    def to_broker(self, call: Callable[..., None], *arguments: object) -> None:
        """Let a frame arrive after those before it."""
        world = self.rabbit.world
        self._to_broker_at = max(self._to_broker_at, world.now + self.rabbit.delay())
        world.after(self._to_broker_at - world.now, self._take, call, arguments)

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
        self.rabbit.world.after(noticed_after, self._notice, why)

    def _notice(self, why: str) -> None:
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
        self.live = Queue(self, "live", bound, TTL, rejects=True)
        self.overflow = Queue(self, "overflow", overflow, None, rejects=False)
        self.parked: list[Published] = []
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
        self.slow = 0.0
        """Seconds that each frame takes longer."""
        self._waiting: list[Callable[[], None]] = []

    def delay(self) -> float:
        """Draw how long a frame is under way."""
        return self.slow + 0.0002 + 0.002 * self.world.random.random()

    def publish(self, message: Published) -> bool:
        """Take a message of a worker; False where the queue refuses it, or nobody can tell."""
        if not self.up or self.alarm or self.stalled or self.live.full(len(message.body)):
            return False
        self.live.add(message)
        return True

    def connect(self, client: str, arrived: Callable[[list[tuple[Channel, int, Entry]]], None]) -> Connection:
        """Let a client in."""
        connection = Connection(self, client, arrived)
        self.connections.append(connection)
        return connection

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
        for queue in (self.live, self.overflow):
            queue.expire()
            queue.pump()
