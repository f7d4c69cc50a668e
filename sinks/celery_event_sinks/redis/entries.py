"""Replies taken apart by hiredis, read from a socket whose every step has what is left of the call's deadline.

redis-py has a parser on hiredis as well, which gives each `recv` its whole time-out again: see `timed.py`.
"""

from __future__ import annotations

from typing import Any

import hiredis
from redis.connection import _RESP2Parser  # type: ignore[attr-defined, unused-ignore]
from redis.exceptions import ConnectionError as RedisConnectionError, InvalidResponse, TimeoutError as RedisTimeoutError

from celery_event_sinks.redis.timed import PROGRESS, Timed

BLOCK = 1024 * 1024
"""Bytes to receive at a time at most."""
_NOT_WHOLE = object()


class TimedParser(_RESP2Parser):
    """RESP 2, values as bytes. Whoever meets an error closes the connection, as `RedisClient` does."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)  # type: ignore[no-untyped-call]
        self._socket: Any = None
        self._timed: Timed | None = None
        """The connection, which knows the deadline."""
        self._came = 0
        """Bytes since the deadline was put off."""
        self._replies = self._begun()

    def on_connect(self, connection: Any) -> None:
        """Begin anew on this connection's socket."""
        super().on_connect(connection)  # type: ignore[no-untyped-call]
        self._socket = connection._sock  # noqa: SLF001 - where redis-py's parsers find it, too
        self._timed = connection if isinstance(connection, Timed) else None
        self._replies = self._begun()

    def on_disconnect(self) -> None:
        """Forget the socket."""
        super().on_disconnect()  # type: ignore[no-untyped-call]
        self._socket = self._timed = None

    def read_response(self, *_: Any, **__: Any) -> Any:
        """Parse a reply: bytes, an int, a list, None, or an error as a value."""
        self._came = 0
        while (reply := self._whole()) is _NOT_WHOLE:
            self._receive()
        if isinstance(reply, RedisConnectionError):
            raise reply
        return reply

    def _begun(self) -> hiredis.Reader:
        return hiredis.Reader(
            protocolError=InvalidResponse, replyError=self.parse_error, notEnoughData=_NOT_WHOLE, errors="replace"
        )

    def _whole(self) -> Any:
        try:
            return self._replies.gets()
        except InvalidResponse as exc:
            raise InvalidResponse(f"{exc}: is it Redis?") from exc

    def _receive(self) -> None:
        try:
            if self._timed is not None:
                self._socket.settimeout(self._timed.timeout())
            block = self._socket.recv(BLOCK)
        except TimeoutError as exc:
            raise RedisTimeoutError("no whole answer in time") from exc
        except AttributeError as exc:
            raise RedisConnectionError("not connected") from exc
        if not block:
            raise RedisConnectionError("closed by the server")
        self._came += len(block)
        if self._came >= PROGRESS:
            self._came = 0
            if self._timed is not None:
                self._timed.progress()
        self._replies.feed(block)
