"""Connection between a client and a server that is a model: bytes arrive in order, after a delay.

It may be reset, end, go silent with both ends open, or bring its bytes in small pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.simulation.network import FakeSocket
    from tests.simulation.process import Process
    from tests.simulation.scheduler import World


class Server(Protocol):
    """Model at the other end of one connection."""

    def received(self, data: bytes) -> None:
        """Take bytes that have arrived."""

    def closed(self) -> None:
        """The client has closed the connection, or it was reset."""


Accept = Callable[["Line"], "Server | None"]
"""Called with a new connection; None refuses it."""


class Line:
    """A connection, seen from its server. What is sent, and the end of it, arrives in order."""

    def __init__(self, world: World, process: Process, sock: FakeSocket) -> None:
        self.world = world
        self.process = process
        """Process of the client."""
        self.open = True
        """False once the server has closed it, or it was reset."""
        self.silent = False
        """True while nothing gets through, in either direction, though both ends are open."""
        self.extra = 0.0
        """Seconds that each piece takes longer."""
        self.crumbs = 0
        """Bytes to come, of either side, that arrive a few at a time."""
        self.server: Server | None = None
        self._socket = sock
        self._hung_up = False
        self._broken = False
        """True once it was reset: nothing that is under way arrives."""
        self._to_client_at = self._to_server_at = 0.0
        self._held: list[tuple[bool, bytes | None]] = []

    def send(self, data: bytes) -> None:
        """Let bytes arrive at the client."""
        if self.open:
            self._carry(data, to_client=True)

    def to_server(self, data: bytes) -> None:
        """Let bytes of the client arrive at the server."""
        self._carry(data, to_client=False)

    def reset(self, *, noticed_after: float | None = 0.0) -> None:
        """End it, for the server at once; for the client after some seconds, or never (None).

        All that is under way is lost.
        """
        if not self.open:
            return
        self.open, self._broken = False, True
        if self.server is not None:
            self.server.closed()
        if noticed_after is not None:
            self.world.after(noticed_after, self._socket.reset)

    def finish(self) -> None:
        """End it as a server does: the client gets what was sent before."""
        if self.open:
            self._carry(None, to_client=True)
            self.open = False
            if self.server is not None:
                self.server.closed()

    def resume(self) -> None:
        """End its silence: what was held arrives."""
        self.silent = False
        held, self._held = self._held, []
        for to_client, data in held:
            self._carry(data, to_client=to_client)

    def hang_up(self, *, unread: bool) -> None:
        """The client closes it, or its process is gone. What it sent arrives, unless it left bytes unread, perhaps."""
        self._hung_up = True
        if unread and self.world.chance(0.5):
            self._broken = True
            self.world.after(self._delay(), self._closed)
        else:
            self._carry(None, to_client=False)

    def _carry(self, data: bytes | None, *, to_client: bool) -> None:
        if self.silent:
            self._held.append((to_client, data))
            return
        for piece in self._pieces(data):
            before = self._to_client_at if to_client else self._to_server_at
            at = max(before, self.world.now + self._delay())
            if to_client:
                self._to_client_at = at
            else:
                self._to_server_at = at
            self.world.at(at, self._at_client if to_client else self._at_server, piece)

    def _pieces(self, data: bytes | None) -> list[bytes | None]:
        if data is None or not self.crumbs:
            return [data]
        pieces: list[bytes | None] = []
        while data and self.crumbs > 0:
            size = 1 + int(self.world.random.random() * 7)
            pieces.append(data[:size])
            data, self.crumbs = data[size:], self.crumbs - size
        self.crumbs = max(0, self.crumbs)
        return [*pieces, data] if data else pieces

    def _closed(self) -> None:
        self.open = False
        if self.server is not None:
            self.server.closed()

    def _delay(self) -> float:
        return self.extra + 0.0001 + 0.001 * self.world.random.random()

    def _at_client(self, data: bytes | None) -> None:
        if self._broken or self._hung_up:
            return
        if data is None:
            self._socket.end()
        else:
            self._socket.arrived(data)

    def _at_server(self, data: bytes | None) -> None:
        if self._broken:
            return
        if not self.open:
            self._socket.reset()  # bytes for a socket that is closed
        elif data is None:
            self._closed()
        elif self.server is not None:
            self.server.received(data)
