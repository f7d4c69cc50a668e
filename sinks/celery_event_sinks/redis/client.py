"""A connection to Redis: commands out, each reply back, errors as values.

Below `redis.Redis`, because a reply belongs to an event, and because `WAIT` speaks of its connection's last write:
a client that reconnects by itself would wait for nothing and call it done.
"""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from celery_event_bridge.contract import SinkUnavailable, StreamRefused, secret_files
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.values import with_remedy
from celery_event_sinks.redis.entries import TimedParser
from celery_event_sinks.redis.errors import (
    NO_TLS,
    code_of,
    ends_the_connection,
    is_of_another_type,
    is_of_the_login,
    remedy_of,
)
from celery_event_sinks.redis.masters import Finder, masters_of
from celery_event_sinks.redis.replies import NoReply
from celery_event_sinks.redis.timed import CONNECT_TIMEOUT, REPLY_TIMEOUT, answers_plainly, is_name, resolve, timed

_RUN_ID = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
_HISTORY = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)

Command = Sequence[str | bytes | int]
Reply = Any
"""Bytes, an int, a list, None, or a ResponseError that the server answered with."""


class RedisClient:
    """Connects when it is first used, and again after a failure. Each connect resolves the host's name anew."""

    def __init__(self, url: str, tls: Mapping[str, Any] | None = None) -> None:
        """`tls`: redis-py's options `ssl_*`, which go before those of a `rediss://` URL. The files are read anew with
        each connect.
        """
        self._tls = tls or {}
        self.generation = 0
        """Number of connections that were closed. `WAIT` on this one knows nothing of an earlier one's writes."""
        self._within: Deadline | None = None
        self._busy = False
        self._has_answered = False
        self._use(url)

    def _use(self, url: str) -> None:
        """Prepare a connection. Raises ValueError or TypeError where it is no URL."""
        masters, plain = masters_of(url, self._tls)
        self._masters: Finder | None = masters
        options: dict[str, Any] = parse_url(plain)  # type: ignore[no-untyped-call]
        connection_class = options.pop("connection_class", Connection)
        self._is_tls = issubclass(connection_class, SSLConnection)
        if self._is_tls:
            options |= self._tls
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
        # Without a pool, which would look after notifications of maintenance and need another protocol.
        connection = timed(connection_class)(**options)
        connection.set_parser(TimedParser)
        self._url = url
        place: str = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self.where = self._masters.where if self._masters else place
        host = str(options.get("host") or "localhost")
        is_fixed = options.get("path") or self._masters or not is_name(host)
        self._name = None if is_fixed else (host, int(options.get("port") or 6379))
        """The name to be resolved, if there is one, and the port."""
        self._database = int(options.get("db") or 0)
        self._connection = connection

    @property
    def address(self) -> str:
        """Host, port and database, as the URL has them."""
        return f"{self.where}/{self._database}"

    @property
    def sock(self) -> socket.socket:
        """The connection's. Raises OSError if there is none, or none where this redis-py keeps it."""
        sock = getattr(self._connection, "_sock", None)
        if not isinstance(sock, socket.socket):
            raise ConnectionError("no socket in redis-py's connection")
        return sock

    @contextmanager
    def within(self, seconds: float) -> Iterator[Deadline]:
        """Give all that is asked here one deadline; within another one, that one holds."""
        if self._within is not None:
            yield self._within
            return
        self._within = Deadline(seconds)
        try:
            yield self._within
        finally:
            self._within = None

    def ask(self, *command: str | bytes | int) -> Reply:
        """Return a command's reply, which may be a ResponseError. Raises SinkUnavailable if the connection is lost."""
        replies, lost = self.exchange([command])
        if lost is not None:
            raise lost
        return replies[0]

    def exchange(self, commands: Sequence[Command]) -> tuple[list[Reply], SinkUnavailable | None]:
        """Send commands of any kind and wait for the reply to each, which may be a ResponseError.

        With the second value set the connection was lost on the way: then the replies are fewer than the commands, and
        what became of the others nobody knows. After an error about the server's state the connection is closed, too.
        """
        return self.exchange_packed(self._connection.pack_commands(commands), len(commands))

    def exchange_packed(self, packed: Sequence[bytes], count: int) -> tuple[list[Reply], SinkUnavailable | None]:
        """Do the same with so many commands that are packed already."""
        if self._busy:  # an exchange was cut short, by Ctrl-C for example
            self.close()
        self._busy = True
        replies, lost = list[Reply](), None
        try:
            with self.within(REPLY_TIMEOUT):
                self.connect()
                self._send(packed)
                while len(replies) < count:
                    replies.append(self._reply())
        except SinkUnavailable as exc:
            lost = exc
        except (RedisError, OSError) as exc:
            (lost := self.lost(exc)).__cause__ = exc
        self._busy = False
        self._has_answered = self._has_answered or bool(replies)
        if lost is None:
            self.take_note([reply for reply in replies if isinstance(reply, ResponseError)])
        return replies, lost

    def connect(self) -> None:
        """Connect and log in, if that is not so already. Raises SinkUnavailable."""
        self._connection.deadline = self._within or Deadline(REPLY_TIMEOUT)
        try:
            try:
                self._connect()
            except RedisError as exc:
                self.close()
                if not (is_of_the_login(exc) and self._renew()):
                    raise
                self._connection.deadline = self._within or Deadline(REPLY_TIMEOUT)
                self._connect()
        except (RedisError, OSError) as exc:
            raise self.lost(exc) from exc

    def _connect(self) -> None:
        if getattr(self._connection, "_sock", None) is not None:
            return
        if self._name is not None:
            resolve(*self._name, self._connection.left())
        if self._masters is not None:
            self._connection.host, self._connection.port = self._masters.find(self._connection.left())
        self._connection.connect()
        if self._masters is not None:
            self._send(self._connection.pack_command("ROLE"))
            if not isinstance(role := self._reply(), ResponseError) and role[0] != b"master":
                raise RedisConnectionError(f"{self._masters.kind} name a server that is no master any more, or not yet")

    def close(self) -> None:
        """Disconnect. Never raises."""
        self.generation += 1
        try:
            self._connection.disconnect()
        except (RedisError, OSError):
            pass  # it is gone all the same

    def take_note(self, errors: Sequence[ResponseError]) -> None:
        """Close the connection where one of these errors means that it leads to the wrong server, or the wrong user."""
        if any(map(is_of_the_login, errors)):
            self._renew()
        if any(map(ends_the_connection, errors)):
            self.close()

    def lost(self, exc: Exception) -> SinkUnavailable:
        """Disconnect, and return what has ended the connection as the outage that it is."""
        self.close()
        if is_of_the_login(exc):
            self._renew()
        return self.unavailable(exc)

    def run_id(self) -> bytes | None:
        """Return the id that the server's process has, None where it may not be asked. Raises SinkUnavailable."""
        reply = self.ask("INFO", "server")
        found = _RUN_ID.search(reply) if isinstance(reply, bytes) else None
        return found[1] if found else None

    def whereabouts(self) -> set[tuple[str, int]]:
        """Return the server's own id, or its address where it may not be asked, and the database.

        And the same with the id of its history, which a master and its replicas share. Raises SinkUnavailable.
        """
        found, history = self.run_id(), self.ask("INFO", "replication")
        shared = _HISTORY.search(history) if isinstance(history, bytes) else None
        names = {found.decode() if found else self.where, *([shared[1].decode()] if shared else [])}
        return {(name, self._database) for name in names}

    def explain(self, error: Exception) -> str:
        """Say in a line an error that the server or the way to it gave; no secret is in it."""
        code, text, said = code_of(error), str(error) or type(error).__name__, ""
        if code and not text.startswith(code):
            text = f"{code} {text}"
        if is_of_the_login(error) and code != "NOPERM":
            said = f"check user and password in {self._set_by()}"
        elif remedy := remedy_of(error):
            said = remedy
        elif isinstance(error, (RedisTimeoutError, TimeoutError)):
            said = "the connection is stuck; is Redis busy, or a proxy or network between?"
        elif isinstance(error, (ConnectionRefusedError, RedisConnectionError)) and not code:
            refused = isinstance(error, ConnectionRefusedError) or "connecting" in text
            was_closed = not (refused or self._is_tls or self._has_answered)
            encrypted = ", or does it speak TLS on that port (rediss://)" if was_closed else ""
            said = f"is Redis there, and {self._set_by()} right{encrypted}?"
        return f"Redis at {self.where}: {with_remedy(text, said)}"

    def explain_reply(self, reply: Reply, stream: bytes) -> str:
        """Say in a line what was answered about a stream instead of what was asked for."""
        if not isinstance(reply, Exception):
            return f"Redis answered with {reply!r}, which is no entry's id: is it Redis?"
        text = self.explain(reply)
        if is_of_another_type(reply):
            name = repr(stream.decode(errors="replace"))
            text = with_remedy(text, f"the key {name} is no stream; choose another BRIDGE_REDIS_STREAM or remove it")
        return text

    def unavailable(self, exc: Exception) -> SinkUnavailable:
        """Return what ended the connection, as the outage that it is."""
        if isinstance(exc, NoReply):
            reason = f"answered XADD with {exc}, which is no entry's id: is it Redis?"
            return SinkUnavailable(f"Redis at {self.where} {reason}")
        if self._is_tls and not (self._has_answered or self._masters) and answers_plainly(self.where):
            return StreamRefused(f"Redis at {self.where}: {NO_TLS}")
        return (StreamRefused if is_of_the_login(exc) else SinkUnavailable)(self.explain(exc))

    def response_error(self, text: str) -> ResponseError:
        """Return what redis-py makes of an error's text. Raises it where it is one of the connection, as LOADING is."""
        error: Exception = self._connection._parser.parse_error(text)
        if not isinstance(error, ResponseError):
            raise error
        return error

    def _set_by(self) -> str:
        return secret_files.named(self._url, "BRIDGE_REDIS_URL")

    def _renew(self) -> bool:
        """Read the file of the URL again, if it came from one; returns whether it holds another one now."""
        url = secret_files.fresh(self._url)
        if url == self._url:
            return False
        self.close()
        try:
            self._use(url)
        except (ValueError, TypeError):  # in the midst of a rotation
            return False
        return True

    def _send(self, packed: Sequence[bytes]) -> None:
        sock, connection = self.sock, self._connection
        for part in packed:
            unsent = memoryview(part)
            while unsent:
                sock.settimeout(connection.timeout())
                unsent = unsent[sock.send(unsent) :]

    def _reply(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as exc:
            return exc
