"""Network in memory: sockets that a process waits on, and servers that are models.

Bytes arrive in order, after a delay. A connection may be reset, go silent with both ends open, or bring its bytes in
small pieces.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


class Server(Protocol):
    """Model at the other end of one connection."""

    def received(self, data: bytes) -> None:
        """Take bytes that have arrived."""

    def closed(self) -> None:
        """The client has closed the connection, or it was reset."""


Accept = Callable[["Line"], "Server | None"]
"""Called with a new connection; None refuses it."""


class Line:
    """A connection, seen from its server."""

    def __init__(self, world: World, process: Process, sock: FakeSocket) -> None:
        self.world = world
        self.process = process
        """Process of the client."""
        self.open = True
        self.hung_up = False
        """True once the client has closed it: what it had sent arrives all the same."""
        self.silent = False
        """True while nothing gets through, in either direction, though both ends are open."""
        self.extra = 0.0
        """Seconds that each piece takes longer."""
        self.server: Server | None = None
        self._socket = sock
        self._to_client_at = self._to_server_at = 0.0
        self._held: list[tuple[bool, bytes]] = []

    def send(self, data: bytes) -> None:
        """Let bytes arrive at the client."""
        if self.silent:
            self._held.append((True, data))
        elif self.open:
            self._to_client_at = max(self._to_client_at, self.world.now + self._delay())
            self.world.after(self._to_client_at - self.world.now, self._at_client, data)

    def to_server(self, data: bytes) -> None:
        """Let bytes of the client arrive at the server."""
        if self.silent:
            self._held.append((False, data))
        elif self.open:
            self._to_server_at = max(self._to_server_at, self.world.now + self._delay())
            self.world.after(self._to_server_at - self.world.now, self._at_server, data)

    def reset(self, *, noticed_after: float | None = 0.0) -> None:
        """End it, for the server at once; for the client after some seconds, or never (None)."""
        if not self.open:
            return
        self.open = False
        if self.server is not None:
            self.server.closed()
        if noticed_after is not None:
            self.world.after(noticed_after, self._socket.reset)

    def resume(self) -> None:
        """End its silence: what was held arrives."""
        self.silent = False
        held, self._held = self._held, []
        for to_client, data in held:
            (self.send if to_client else self.to_server)(data)

    def hang_up(self) -> None:
        """The client closes it, or its process is gone."""
        if self.open:
            self.open, self.hung_up = False, True
            self.world.after(max(self._to_server_at - self.world.now, self._delay()), self._closed)

    def _closed(self) -> None:
        if self.server is not None:
            self.server.closed()

    def _delay(self) -> float:
        return self.extra + 0.0001 + 0.001 * self.world.random.random()

    def _at_client(self, data: bytes) -> None:
        if self.open:
            self._socket.arrived(data)

    def _at_server(self, data: bytes) -> None:
        if (self.open or self.hung_up) and self.server is not None:
            self.server.received(data)


class FakeSocket(socket.socket):
    """A client's socket without a descriptor: what it does not know how to do fails."""

    world: ClassVar[World]

    def __new__(cls, *_: Any, **__: Any) -> FakeSocket:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:  # the real one would ask the kernel for a descriptor
        assert self.world.current is not None, "only a process opens a socket"
        self._process = self.world.current
        self._timeout: float | None = None
        self._buffer = bytearray()
        self._line: Line | None = None
        self._reset = False
        self._shut = False

    @classmethod
    def connected(cls, address: tuple[str, int], timeout: Any = None, *_: Any, **__: Any) -> FakeSocket:
        """Stand in for `socket.create_connection`."""
        sock = cls()
        sock.settimeout(timeout if isinstance(timeout, float | int) else None)
        sock.connect(address)
        return sock

    def connect(self, address: Any) -> None:
        line = Line(self.world, self._process, self)
        self._process.wait(0.0005)
        accept = self.world.servers.get(address[1])
        line.server = accept(line) if accept is not None else None
        if line.server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._line = line
        self._process.sockets.append(self)

    def settimeout(self, value: float | None) -> None:
        self._timeout = value

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        self._timeout = None if flag else 0.0

    def setsockopt(self, *_: Any) -> None:
        """Take no notice."""

    def getsockopt(self, *_: Any) -> int:
        return 0

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 0)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def fileno(self) -> int:
        return -1 if self._line is None else 1000 + self._process.number

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._check()
        assert self._line is not None
        self._line.to_server(bytes(data))

    def send(self, data: Any, flags: int = 0) -> int:
        self.sendall(data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self._buffer:
            self.wait_for_data(self._timeout)
        if not self._buffer:
            if self._shut:
                return b""
            if self._timeout == 0.0:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            raise TimeoutError("timed out")
        data = bytes(self._buffer[:size])
        if not flags & socket.MSG_PEEK:
            del self._buffer[:size]
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        data = self.recv(nbytes or len(buffer), flags)
        memoryview(buffer)[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        """Close follows."""

    def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.hang_up()
            self._process.sockets.remove(self)

    def detach(self) -> int:
        raise AssertionError("no descriptor")

    def __del__(self) -> None:
        """Nothing to release."""

    def wait_for_data(self, seconds: float | None) -> bool:
        """Wait until there is something to read, or the end of it; False where the time is over first."""
        end = None if seconds is None else self.world.now + seconds
        while not self._buffer and not self._shut:
            self._check()
            left = 3600.0 if end is None else end - self.world.now
            if left <= 0:
                return False
            self._process.wait(left)
        return True

    def arrived(self, data: bytes) -> None:
        """Take bytes of the server."""
        self._buffer += data
        self._process.wake()

    def reset(self) -> None:
        """Let the client know that the connection is gone."""
        self._reset = True
        self._process.wake()

    def _check(self) -> None:
        if self._line is None:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self._reset:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


class FakePoll:
    """Stands in for `select.poll`, for one socket."""

    def __init__(self) -> None:
        self._sockets: list[FakeSocket] = []

    def register(self, sock: Any, mask: int = 0) -> None:
        self._sockets.append(sock)

    def unregister(self, sock: Any) -> None:
        self._sockets.remove(sock)

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        (sock,) = self._sockets
        seconds = None if milliseconds is None or milliseconds < 0 else milliseconds / 1000
        try:
            found = sock.wait_for_data(seconds)
        except ConnectionResetError:
            found = True  # a read tells
        return [(sock.fileno(), 1)] if found else []


def addresses(host: Any, port: Any, *_: Any, **__: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Stand in for `socket.getaddrinfo`."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
