"""A connection to Redis on which commands are answered and PUB/SUB is heard: RESP3, one order for both.

By redis-py up to the login; what comes after is read with hiredis directly, as a reply may come between two events and
nothing here waits for one. One connection for both, because then its loss cannot go unseen by either, and because who
is answered without hearing its own message is known to be deaf.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import hiredis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from celery_event_bridge.brokers.redis.errors import translated
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.address import Address
    from celery_event_bridge.brokers.redis.settings import Settings

CHUNK = 256 * 1024
"""Bytes to read at a time."""
MOST_AT_ONCE = 16 * CHUNK
"""Bytes after which a turn of the loop reads no more."""
CONNECT_TIMEOUT = 3.0
REPLY_TIMEOUT = 5.0
"""Seconds without an answer after which the connection counts as lost."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NOTHING = object()


def connected(settings: Settings, address: Address, *, role: str, protocol: int = 3) -> Any:
    """Return redis-py's connection, logged in, to the server that this address leads to. Raises BrokerUnavailable.

    Not all of it is typed.
    """
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": REPLY_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
        "protocol": protocol,
        "client_name": f"celery-event-bridge.{role}.{os.getpid()}",
    }
    tls = tls_options(settings, address)
    with translated(address.where, tls=bool(tls)):
        host, port = address.host, address.port
        if address.sentinels:
            host, port = _master(settings, address, tls)
        kind: Any = SSLConnection if tls else Connection
        if address.path:
            kind = UnixDomainSocketConnection
        where: dict[str, Any] = {"path": address.path} if address.path else {"host": host, "port": port}
        connection = kind(**where, **options, **tls)
        connection.connect()
    return connection


def connected_link(settings: Settings, *, role: str) -> Link:
    """Return a link to the first server that answers. Raises BrokerUnavailable, of the last one that was tried."""
    failed: BrokerUnavailable | None = None
    for address in settings.addresses:
        try:
            return Link(connected(settings, address, role=role), address.where)
        except BrokerUnavailable as exc:
            failed = exc
    assert failed is not None, "a URL at least"
    raise failed


class Servers:
    """Connects to the servers of BRIDGE_BROKER_URL in turn."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0

    def __call__(self) -> Link:
        """Return a connection to the next one. Raises BrokerUnavailable; then the one after it is next."""
        addresses = self._settings.addresses
        address = addresses[self._next % len(addresses)]
        self._next += 1
        return Link(connected(self._settings, address, role="consumer"), address.where)


def _master(settings: Settings, address: Address, tls: dict[str, Any]) -> tuple[str, int]:
    own = settings.broker_transport_options
    given = dict(own.get("sentinel_kwargs") or {})
    if given.get("ssl") and not any(name.startswith("ssl_") for name in given):
        given |= tls  # theirs are of the same CA, where nothing else is said
    kind: Any = Sentinel
    sentinels = kind(
        list(address.sentinels),
        sentinel_kwargs={
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            **given,
        },
    )
    try:
        found: tuple[str, int] = sentinels.discover_master(str(own.get("master_name")))
        return found
    finally:
        for each in sentinels.sentinels:
            each.close()


def tls_options(settings: Settings, address: Address) -> dict[str, Any]:
    """Return redis-py's options of TLS to that server, or to the master of these sentinels; empty without."""
    files = {
        "ssl_ca_certs": settings.broker_tls_ca,
        "ssl_certfile": settings.broker_tls_cert,
        "ssl_keyfile": settings.broker_tls_key,
    }
    given = {name: str(file) for name, file in files.items() if file}
    if not address.tls and not (address.sentinels and (given or not settings.broker_tls_verify)):
        return {}
    options: dict[str, Any] = {"ssl_cert_reqs": "required", **dict(address.options), **given}
    if not settings.broker_tls_verify:
        options["ssl_cert_reqs"] = "none"
    if options["ssl_cert_reqs"] == "none":
        options["ssl_check_hostname"] = False
    return options


class Link:
    """A connection that was made."""

    def __init__(self, connection: Any, where: str) -> None:
        self._connection = connection
        self.where = where
        sock = getattr(connection, "_sock", None)
        if not isinstance(sock, socket.socket):
            raise BrokerUnavailable(f"Redis at {where}: no socket in redis-py's connection")
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._owed = 0
        """Replies that are to come."""
        self._owed_since = 0.0

    def send(self, *command: str | bytes | int | float) -> None:
        """Write a command; its reply comes with what `read` finds. Raises BrokerUnavailable."""
        self._write(*command)
        if not self._owed:
            self._owed_since = time.monotonic()
        self._owed += 1

    def subscribe(
        self, patterns: Sequence[bytes], channels: Sequence[bytes], on_event: Callable[[bytes], None]
    ) -> None:
        """Subscribe, and wait until it is so: from then on nothing is missed. Raises BrokerUnavailable."""
        confirmed: list[Any] = []
        self._write("PSUBSCRIBE", *patterns)
        if channels:
            self._write("SUBSCRIBE", *channels)
        deadline = Deadline(REPLY_TIMEOUT)
        while len(confirmed) < len(patterns) + len(channels):
            if deadline.passed:
                raise BrokerUnavailable(f"Redis at {self.where}: a subscription was not answered")
            for reply in self.read(0.1, on_event, confirmed.append):
                needed = " ".join(f"&{name.decode(errors='replace')}" for name in (*patterns, *channels))
                raise BrokerUnavailable(
                    f"Redis at {self.where} refuses to subscribe to the events: {reply}: +psubscribe +subscribe "
                    f"{needed} are needed"
                )

    def _write(self, *command: str | bytes | int | float) -> None:
        with translated(self.where):
            self._sock.settimeout(REPLY_TIMEOUT)
            for part in self._connection.pack_command(*command):
                self._sock.sendall(part)

    def read(
        self, timeout: float, on_event: Callable[[bytes], None], on_other: Callable[[list[Any]], None]
    ) -> list[Any]:
        """Read what has come, after up to `timeout` seconds; return the replies, errors as values.

        Raises BrokerUnavailable where the connection is lost, or owes a reply for too long.
        """
        replies: list[Any] = []
        with translated(self.where):
            if self._wait(timeout):
                self._read_all(replies, on_event, on_other)
        if replies:
            self._owed = max(0, self._owed - len(replies))
            self._owed_since = time.monotonic()
        elif self._owed and time.monotonic() - self._owed_since > REPLY_TIMEOUT:
            raise BrokerUnavailable(f"Redis at {self.where}: no answer for {REPLY_TIMEOUT:g} s")
        return replies

    def ask(self, *command: str | bytes | int | float) -> Any:
        """Return a command's reply, which may be an error, before anything was subscribed to.

        Raises BrokerUnavailable.
        """
        self.send(*command)
        deadline = Deadline(REPLY_TIMEOUT)
        while not (replies := self.read(deadline.left(), _ignore, _ignore)):
            continue
        return replies[0]

    def close(self) -> None:
        """Disconnect. Never raises."""
        with suppress(RedisError, OSError):
            self._connection.disconnect()

    def _wait(self, seconds: float) -> bool:
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        return bool(self._poller.poll(max(0.0, seconds) * 1000))

    def _read_all(
        self, replies: list[Any], on_event: Callable[[bytes], None], on_other: Callable[[list[Any]], None]
    ) -> None:
        sock, reader, push = self._sock, self._reader, hiredis.PushNotification
        read = 0
        while read < MOST_AT_ONCE:
            sock.settimeout(0.0)  # each time: what is heard may be answered at once, by a write that waits
            try:
                data = sock.recv(CHUNK)
            except NOT_NOW:
                return
            if not data:
                raise ConnectionError("the connection was closed by the server")
            read += len(data)
            reader.feed(data)
            while (item := reader.gets()) is not _NOTHING:
                if type(item) is not push:
                    replies.append(item)
                elif item[0] == b"pmessage":
                    on_event(item[3])
                else:
                    on_other(item)


def _ignore(_: Any) -> None:
    pass
