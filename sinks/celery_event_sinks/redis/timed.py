"""A redis-py connection on which every step has what is left of one deadline: connecting, the login, each reply.

redis-py gives each piece its whole time-out again: each address that it tries, each `recv`. So a peer that lets one
byte through every two seconds holds a call for ever.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from typing import Any

from redis.connection import AbstractConnection

from celery_event_bridge.contract.deadline import Deadline

CONNECT_TIMEOUT = 2.0
"""Seconds for the connection to one address."""
REPLY_TIMEOUT = 5.0
"""Seconds for a call; the loop stands still meanwhile."""
PROBE_TIMEOUT = 0.5
"""Seconds to find out whether a port that does not answer in TLS answers without it."""
PROGRESS = 64 * 1024
"""Bytes of an answer after which its deadline begins anew: a slow network may carry a large one."""
AT_LEAST = 0.001
"""Seconds, since a time-out of 0 means not to wait at all; the deadline has passed then."""


class Timed:
    """Beside a redis-py class, before it. `deadline` is set by who makes a call."""

    deadline: Deadline | None = None

    def left(self) -> float:
        """Return the seconds that are left for the call."""
        return REPLY_TIMEOUT if self.deadline is None else self.deadline.left()

    def timeout(self) -> float:
        """Return the same for a socket's time-out. Raises TimeoutError once nothing is left."""
        return REPLY_TIMEOUT if self.deadline is None else self.deadline.timeout()

    def progress(self) -> None:
        """Put the deadline off: PROGRESS bytes have come."""
        if self.deadline is not None:
            self.deadline.extend(REPLY_TIMEOUT)

    @property
    def socket_timeout(self) -> float:
        """Seconds for a socket, as redis-py asks for them once it is connected and before TLS."""
        return max(AT_LEAST, self.left())

    @socket_timeout.setter
    def socket_timeout(self, value: Any) -> None:
        """Ignore that of redis-py."""

    @property
    def socket_connect_timeout(self) -> float:
        """Seconds to connect, as redis-py asks for them before each address."""
        return max(AT_LEAST, min(CONNECT_TIMEOUT, self.left()))

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: Any) -> None:
        """Ignore that of redis-py."""


def answers_plainly(address: str) -> bool:
    """Return whether a port, `host:6379`, answers without TLS.

    It takes a handshake for the beginning of a command, and waits for the rest of it.
    """
    host, _, number = address.rpartition(":")
    try:
        with socket.create_connection((host, int(number)), PROBE_TIMEOUT) as sock:
            sock.settimeout(PROBE_TIMEOUT)
            sock.sendall(b"PING\r\n")
            return sock.recv(1) in (b"+", b"-")
    except OSError:
        return False


def resolve(host: str, port: int, seconds: float) -> None:
    """Resolve a host's name, as the connection will, and wait so long at most. Raises OSError, TimeoutError.

    In a thread, since the resolver knows no deadline: a name server that is silent holds it for half a minute.
    """
    answer: queue.Queue[OSError | None] = queue.Queue()

    def ask() -> None:
        try:
            socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except OSError as exc:
            answer.put(exc)
        except UnicodeError:  # the codec of international names
            answer.put(OSError(f"{host} is no name that a host can have"))
        else:
            answer.put(None)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        error = answer.get(timeout=max(AT_LEAST, seconds))
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if error is not None:
        raise error


def is_name(host: str) -> bool:
    """Return whether somebody has to be asked for it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def timed(connection_class: type[AbstractConnection]) -> type[Any]:
    """Return the class with deadlines."""
    return type(f"Timed{connection_class.__name__}", (Timed, connection_class), {})
