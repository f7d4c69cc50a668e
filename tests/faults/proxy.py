"""A TCP proxy on 127.0.0.1 that fails the way networks do."""

from __future__ import annotations

import enum
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

CHUNK = 65536
ENDING = 5.0
"""Seconds for a thread to notice that it is over."""
LOOK = 0.02
"""Seconds between two looks at the mode while nothing may move."""


class Mode(enum.Enum):
    """What the network does."""

    PASS = "pass"
    STALL = "stall"
    """Nothing moves; every connection stays open."""
    DROP_REPLIES = "drop replies"
    """What the server says is thrown away; it notices nothing."""
    TRICKLE = "trickle"
    """One byte at a time, at most a thousand a second."""
    REFUSE = "refuse"
    """New connections are closed at once; those that are there go on."""


class Proxy:
    """Between clients and one server, or the nodes of a cluster: two threads a connection, one for each direction."""

    def __init__(self, *targets: int) -> None:
        """To the first of these ports that takes a connection; beginning with another each time."""
        self._targets = deque(targets)
        self.mode = Mode.PASS
        self.pace = 0.001
        """Seconds for a byte that trickles."""
        self.delay = 0.0
        """Seconds that each chunk is on its way, as over a long distance."""
        self.accepted: list[float] = []
        """When each connection came, by the monotonic clock."""
        self.replies_only = False
        """Whether requests pass while replies trickle."""
        self.dropped = 0
        """Bytes of replies that were thrown away."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        """Client's end and server's end of each connection."""
        self._orphans: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def lead_to(self, *targets: int) -> None:
        """New connections go to these ports, as when a name leads elsewhere; those that are open stay."""
        self._targets = deque(targets)

    def cut(self) -> None:
        """Every connection is reset, on both sides."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def half_open(self) -> None:
        """The server sees its clients go; the clients see nothing until `heal`."""
        pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            self._orphans.append(client)
            _reset(server)

    def heal(self) -> None:
        """The network is well again. Connections that have lost bytes, or one end, are gone."""
        lossy = self.mode is Mode.DROP_REPLIES
        self.mode = Mode.PASS
        orphans, self._orphans = self._orphans, []
        for orphan in orphans:
            _reset(orphan)
        if lossy:
            self.cut()

    def close(self) -> None:
        """End it, and what its threads have open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or `accept` goes on
        self._listener.close()
        self.heal()
        for thread in self._threads[:1]:
            thread.join(ENDING)
        self.cut()
        for thread in self._threads:
            thread.join(ENDING)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads = [one for one in self._threads if one.is_alive()]
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            self.accepted.append(time.monotonic())
            if self.mode is Mode.REFUSE:
                client.close()
                continue
            if (server := self._reach()) is None:
                _reset(client)
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            self._start(self._pump, client, server, False)
            self._start(self._pump, server, client, True)

    def _reach(self) -> socket.socket | None:
        for _ in range(len(self._targets)):
            self._targets.rotate(-1)
            with suppress(OSError):
                return socket.create_connection(("127.0.0.1", self._targets[0]), timeout=2)
        return None

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        """Pass on what one end sends until it ends; then the other is told, unless it is an orphan now."""
        try:
            while data := source.recv(CHUNK):
                time.sleep(self.delay)
                while self.mode is Mode.STALL:
                    time.sleep(LOOK)
                if self.mode is Mode.DROP_REPLIES and is_reply:
                    self.dropped += len(data)
                    continue
                self._send(sink, data, trickles=is_reply or not self.replies_only)
        except OSError:
            pass
        if sink not in self._orphans:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _send(self, sink: socket.socket, data: bytes, *, trickles: bool) -> None:
        while data and trickles and self.mode is Mode.TRICKLE:
            sink.sendall(data[:1])
            data = data[1:]
            time.sleep(self.pace)
        sink.sendall(data)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
