"""The real `Link`, whose socket is a line to a model server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.redis import link
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.pubsub.servers import Server

TURN, COARSE = 0.001, 0.02
"""Seconds that a turn of the loop takes at least, and that a short wait is drawn out to."""
CONNECT_TIMEOUT = 3.0
_EOF = object()


class Standing:
    """Clock of a process that may stand still at any call of it: before the time is read, and after."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pauses: list[tuple[int, float]] = []
        """Calls from now on, and the seconds that it stands still at that one; the next one last."""

    def pause(self) -> None:
        """Stand still, if it is time to."""
        if not self.pauses or self.process.dead:
            return
        left, seconds = self.pauses.pop()
        if left > 0:
            self.pauses.append((left - 1, seconds))
            return
        self.process.world.say(self.process.name, "stands still for", seconds)
        self.process.freeze(seconds)
        self.process.wait(0.0)

    def monotonic(self) -> float:
        """Return the time."""
        self.pause()
        now = self.process.monotonic()
        self.pause()
        return now

    def time(self) -> float:
        """Return the wall-clock time."""
        return self.process.time()

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        self.process.wait(seconds)


class Client:
    """A connection: what the server knows of it, and what is on its way."""

    def __init__(self, server: Server, process: Process) -> None:
        self.server = server
        self.process = process
        self.world = process.world
        self.subscribed = False
        self.open = True
        self.half_open = False
        """True where nothing arrives, either way, and nobody knows."""
        self.up = self.down = 0.0
        """Seconds that the way to the server, and back, takes longer."""
        self.waiting = False
        """True while the process waits for it."""
        self.lost: str | None = None
        """Reason that the client is told, once all before is read."""
        self._inbox: deque[tuple[float, object, int]] = deque()
        self._unread = 0
        self._last_up = self._last_down = 0.0
        self._wakes = False
        server.clients.append(self)

    # At the server's end -----------------------------------------------------------------------------------------

    def push_reply(self, value: object) -> None:
        """Answer."""
        self.push((value,), 100)

    def push(self, item: object, size: int) -> None:
        """Write to it, unless it has left too much unread: then it is cut off."""
        if self.half_open:
            return
        self._unread += size
        if self._unread > self.server.servers.limit:
            self.world.say(self.process.name, "is cut off: its output buffer is full")
            self.cut()
            return
        at = self._last_down = max(self._last_down, self.world.now + self.server.servers.delay() + self.down)
        self._inbox.append((at, item, size))
        self._wake_at(at)

    def cut(self, *, noticed_after: float = 0.0) -> None:
        """Cut the connection. What is on its way may arrive in part; the client notices, if at all, then."""
        if not self.open:
            return
        self.open = self.subscribed = False
        self.server.clients.remove(self)
        kept = int(self.world.random.random() * 1.5 * len(self._inbox))
        while len(self._inbox) > kept:
            self._inbox.pop()
        self.half_open = True
        self.world.after(noticed_after + self.server.servers.delay(), self.notice, "reset by peer")

    def notice(self, why: str) -> None:
        """Let the client know that it is lost."""
        if self.lost is None:
            self.lost = why
            self._wake_at(self.world.now)

    def notice_if_lost(self) -> None:
        """Let the client know now what it would find out later."""
        if not self.open:
            self.notice("reset by peer")

    # At the client's end -----------------------------------------------------------------------------------------

    def send(self, command: Sequence[bytes]) -> None:
        """Write a command."""
        if self.lost is not None:
            raise ConnectionResetError(self.lost)
        if not self.half_open:
            at = self._last_up = max(self._last_up, self.world.now + self.server.servers.delay() + self.up)
            self.world.after(at - self.world.now, self.server.execute, self, command)

    def close(self) -> None:
        """Close it, or let the kernel do so: what was sent before arrives."""
        self.lost = "closed"
        self.world.after(max(0.0, self._last_up - self.world.now) + self.server.servers.delay(), self.cut)

    def wait(self, seconds: float) -> bool:
        """Wait for something to read; returns whether there is."""
        self.waiting = True
        try:
            if not self.readable:
                until = self.world.now + seconds
                first = self._inbox[0][0] if self._inbox else until
                self.process.wait(max(TURN, min(until, first) - self.world.now))
            else:
                self.process.wait(TURN)
        finally:
            self.waiting = False
        return self.readable

    @property
    def readable(self) -> bool:
        """Return whether there is anything to read."""
        return bool(self._inbox and self._inbox[0][0] <= self.world.now) or (self.lost is not None and not self._inbox)

    def arrived(self) -> Iterator[object]:
        """Yield what has arrived. Raises ConnectionResetError behind it, where the connection is lost."""
        left = self.server.servers.at_once
        while left and self._inbox and self._inbox[0][0] <= self.world.now:
            _, item, size = self._inbox.popleft()
            self._unread -= size
            left -= 1
            yield item
        if self.lost is not None and not self._inbox:
            raise ConnectionResetError(self.lost)

    def _wake_at(self, at: float) -> None:
        if not self._wakes:
            self._wakes = True
            self.world.after(max(0.0, at - self.world.now), self._wake)

    def _wake(self) -> None:
        self._wakes = False
        if self.waiting and self.readable:
            self.process.wake()


class ModelLink(link.Link):
    """See `celery_event_bridge.brokers.redis.link.Link`, whose logic is the real one."""

    def __init__(self, client: Client, clock: Standing) -> None:
        self.client = client
        self.where = "the model"
        self._clock = clock
        self._owed = 0
        self._owed_since = 0.0

    def _write(self, *command: str | bytes | int | float) -> None:
        self._clock.pause()
        with link.translated(self.where):
            self.client.send([part if isinstance(part, bytes) else str(part).encode() for part in command])

    def _wait(self, seconds: float) -> bool:
        self._clock.pause()
        found = self.client.wait(max(seconds, COARSE) if seconds else 0.0)
        self._clock.pause()
        return found

    def _read_all(
        self, replies: list[Any], on_event: Callable[[bytes], None], on_other: Callable[[list[Any]], None]
    ) -> None:
        try:
            for item in self.client.arrived():
                if type(item) is bytes:
                    on_event(item)
                elif type(item) is tuple:
                    replies.append(item[0])
                else:
                    assert type(item) is list
                    on_other(item)
        finally:
            self._clock.pause()

    def close(self) -> None:
        self.client.close()


def connected(servers: Any, process: Process, clock: Standing) -> ModelLink:
    """Connect to the server that a process reaches. Raises BrokerUnavailable."""
    process.wait(servers.delay())
    if process.world.unreachable.get(process.name, 0.0) > process.world.now:
        process.wait(CONNECT_TIMEOUT)
        raise BrokerUnavailable("no answer to a connection")
    server = servers.reached_by(process.name)
    if server is None:
        raise BrokerUnavailable("connection refused") from ConnectionRefusedError()
    client = Client(server, process)
    process.wait(servers.delay())
    return ModelLink(client, clock)
