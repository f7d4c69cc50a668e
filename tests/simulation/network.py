"""Network in memory: sockets that a process waits on. `line` has what is between them and a server."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, ClassVar

from tests.simulation.line import Line

if TYPE_CHECKING:
    from tests.simulation.scheduler import World


TURN = 0.001
"""Seconds that a look at a socket on which nothing is takes at least: whoever only looks goes on in time too."""
COARSE = 0.02
"""Seconds that a short wait is drawn out to: a busy machine does no better, and a run has fewer turns."""


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
        self._wait_for_a_way()
        accept = self.world.servers.get(address[1])
        line.server = accept(line) if accept is not None else None
        if line.server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._line = line
        self._process.sockets.append(self)

    def _wait_for_a_way(self) -> None:
        """Try to connect again and again, as TCP does while nothing answers. Raises TimeoutError."""
        end = self.world.now + (120.0 if self._timeout is None else self._timeout)
        while self.world.now < self.world.unreachable.get(self._process.name, 0.0):
            if self.world.now >= end:
                raise TimeoutError("timed out")
            self._process.wait(min(end, self.world.unreachable[self._process.name]) - self.world.now)

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
        if not self._process.dead:
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
            line.hang_up(unread=bool(self._buffer))
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

    def end(self) -> None:
        """Let the client know that nothing more comes."""
        self._shut = True
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
        if seconds is not None:
            seconds = max(seconds, COARSE) if seconds else TURN
        try:
            found = sock.wait_for_data(seconds)
        except ConnectionResetError:
            found = True  # a read tells
        return [(sock.fileno(), 1)] if found else []


def addresses(host: Any, port: Any, *_: Any, **__: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Stand in for `socket.getaddrinfo`."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
