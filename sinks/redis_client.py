"""One connection to Redis for the sink: commands out in one write, each reply back, errors as values.

Below `redis.Redis`, because a reply belongs to an event, and because `WAIT` speaks of its connection's last write:
a client that reconnects by itself would wait for nothing and call it done.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import (
    AuthenticationError,
    ConnectionError as RedisConnectionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from bridge.contract import SinkUnavailable
from sinks.redis_replies import EntryReplies, NoReply

CONNECT_TIMEOUT = 2.0
REPLY_TIMEOUT = 5.0
"""Seconds for one reply, or for the next byte of it; the loop stands still meanwhile."""

RECEIVE = 256 * 1024
"""Bytes of replies that are read at a time; an entry's id takes about 22."""

Command = Sequence[str | bytes | int]
Reply = Any
"""Bytes, an int, a list, None, or a ResponseError that the server answered with."""


class RedisClient:
    """Connects when it is first used, and again after a failure."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        connection_class = options.pop("connection_class", Connection)
        # Over the URL's own options: replies are bytes, and nothing is sent twice.
        options |= {
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": REPLY_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": (),
            "retry_on_timeout": False,
            "decode_responses": False,
            "health_check_interval": 0,
            "protocol": 2,
        }
        if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters:
            # Or each connection begins with two courtesies whose replies are waited for as well.
            options["driver_info"] = None
        self._where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        # Without a pool, which would look after notifications of maintenance and need another protocol.
        self._connection = connection_class(**options)

    def write(self, commands: Sequence[bytes]) -> tuple[list[Reply], SinkUnavailable | None]:
        """Send packed commands that add entries, and read the reply to each: its id, or a ResponseError.

        With the second value set the connection was lost on the way: then the replies are fewer than the commands, and
        what became of the others nobody knows.
        """
        replies: list[Reply] = []
        try:
            self._connection.send_packed_command([b"".join(commands)], check_health=False)
            self._read(replies, len(commands))
        except (RedisError, OSError) as exc:
            self.close()
            return replies, self._unavailable(exc)
        except NoReply as exc:
            self.close()
            reason = f"answered XADD with {exc}, which is no entry's id: is it Redis?"
            return replies, SinkUnavailable(f"Redis at {self._where} {reason}")
        return replies, None

    def _read(self, replies: list[Reply], wanted: int) -> None:
        connection = self._connection
        sock = getattr(connection, "_sock", None)
        if not isinstance(sock, socket.socket):  # another redis-py than we know
            while len(replies) < wanted:
                replies.append(self._reply())
            return
        unread = EntryReplies()
        while len(replies) < wanted:
            if not (received := sock.recv(RECEIVE)):
                raise RedisConnectionError("Redis closed the connection")
            for reply in unread.feed(received):
                # One by one: those before an error of the connection count.
                replies.append(reply if isinstance(reply, bytes) else _response_error(connection, reply))  # noqa: PERF401

    def _reply(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as exc:
            return exc

    def ask(self, *command: str | bytes | int) -> Reply:
        """One command's reply, which may be a ResponseError. Raises SinkUnavailable if the connection is lost."""
        replies, lost = self.exchange([command])
        if lost is not None:
            raise lost
        return replies[0]

    def exchange(self, commands: Sequence[Command]) -> tuple[list[Reply], SinkUnavailable | None]:
        """Send commands of any kind; what `write` says holds for the replies."""
        replies: list[Reply] = []
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            while len(replies) < len(commands):
                replies.append(self._reply())
        except (RedisError, OSError) as exc:
            self.close()
            return replies, self._unavailable(exc)
        return replies, None

    def connect(self) -> None:
        """Connect and log in, if that is not so already. Raises SinkUnavailable."""
        try:
            self._connection.connect()
        except (RedisError, OSError) as exc:
            self.close()
            raise self._unavailable(exc) from exc

    def close(self) -> None:
        """Disconnect. Never raises."""
        try:
            self._connection.disconnect()
        except (RedisError, OSError):
            pass

    def explain(self, error: Exception) -> str:
        """One line about an error that the server or the way to it gave; no secret is in it."""
        code = getattr(error, "status_code", None)
        text = f"{code} {error}" if code else str(error) or type(error).__name__
        if isinstance(error, AuthenticationError) or code in ("NOAUTH", "WRONGPASS"):
            text += ": check user and password in BRIDGE_REDIS_URL"
        elif isinstance(error, (ConnectionRefusedError, RedisConnectionError)) and not code:
            text = f"{text.rstrip('.')}: is Redis there, and BRIDGE_REDIS_URL right?"
        return f"Redis at {self._where}: {text}"

    def _unavailable(self, exc: Exception) -> SinkUnavailable:
        return SinkUnavailable(self.explain(exc))


def _response_error(connection: Any, text: str) -> ResponseError:
    """What redis-py makes of an error's text. Raises it where it is one of the connection, as LOADING is."""
    error = connection._parser.parse_error(text)
    if not isinstance(error, ResponseError):
        raise error
    return error
