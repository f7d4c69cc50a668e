"""One connection to Redis for the sink: commands out, each reply back, errors as values.

Below `redis.Redis`, because a reply belongs to an event, and because `WAIT` speaks of its connection's last write:
a client that reconnects by itself would wait for nothing and call it done.
"""

from __future__ import annotations

import inspect
import re
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

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.replies import NoReply

CONNECT_TIMEOUT = 2.0
REPLY_TIMEOUT = 5.0
"""Seconds for one reply, or for the next byte of it; the loop stands still meanwhile."""

_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)

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
        self._database = int(options.get("db") or 0)
        # Without a pool, which would look after notifications of maintenance and need another protocol.
        self._connection = connection_class(**options)
        self.generation = 0
        """How many connections were closed. `WAIT` on this one knows nothing of what an earlier one has written."""

    @property
    def address(self) -> str:
        """Host, port and database, as the URL has them."""
        return f"{self._where}/{self._database}"

    @property
    def sock(self) -> socket.socket:
        """The connection's. Raises OSError if there is none, or none where this redis-py keeps it."""
        sock = getattr(self._connection, "_sock", None)
        if not isinstance(sock, socket.socket):
            raise ConnectionError("no socket in redis-py's connection")
        return sock

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
        """Send commands of any kind and wait for the reply to each, which may be a ResponseError.

        With the second value set the connection was lost on the way: then the replies are fewer than the commands, and
        what became of the others nobody knows.
        """
        replies: list[Reply] = []
        connection = self._connection
        try:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            while len(replies) < len(commands):
                replies.append(self._reply())
        except (RedisError, OSError) as exc:
            self.close()
            return replies, self.unavailable(exc)
        return replies, None

    def connect(self) -> None:
        """Connect and log in, if that is not so already. Raises SinkUnavailable."""
        try:
            self._connection.connect()
        except (RedisError, OSError) as exc:
            self.close()
            raise self.unavailable(exc) from exc

    def close(self) -> None:
        """Disconnect. Never raises."""
        self.generation += 1
        try:
            self._connection.disconnect()
        except (RedisError, OSError):
            pass

    def whereabouts(self) -> tuple[str, int]:
        """The server's own id, or its address where it may not be asked, and the database. Raises SinkUnavailable."""
        reply = self.ask("INFO", "server")
        found = _RUN_ID.search(reply) if isinstance(reply, bytes) else None
        return found[1].decode() if found else self._where, self._database

    def explain(self, error: Exception) -> str:
        """One line about an error that the server or the way to it gave; no secret is in it."""
        code = getattr(error, "status_code", None)
        text = f"{code} {error}" if code else str(error) or type(error).__name__
        if isinstance(error, AuthenticationError) or code in ("NOAUTH", "WRONGPASS"):
            text += ": check user and password in BRIDGE_REDIS_URL"
        elif isinstance(error, (ConnectionRefusedError, RedisConnectionError)) and not code:
            text = f"{text.rstrip('.')}: is Redis there, and BRIDGE_REDIS_URL right?"
        return f"Redis at {self._where}: {text}"

    def unavailable(self, exc: Exception) -> SinkUnavailable:
        """What ended the connection, as the outage that it is."""
        if isinstance(exc, NoReply):
            reason = f"answered XADD with {exc}, which is no entry's id: is it Redis?"
            return SinkUnavailable(f"Redis at {self._where} {reason}")
        return SinkUnavailable(self.explain(exc))

    def response_error(self, text: str) -> ResponseError:
        """What redis-py makes of an error's text. Raises it where it is one of the connection, as LOADING is."""
        error: Exception = self._connection._parser.parse_error(text)
        if not isinstance(error, ResponseError):
            raise error
        return error
