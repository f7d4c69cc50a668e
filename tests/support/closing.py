"""What tests leave open on purpose until the last test of their module has ended."""

from __future__ import annotations

import gc
import socket
import time
from contextlib import ExitStack
from typing import Protocol


class Closable(Protocol):
    """A sink, a client, a connection."""

    def close(self) -> None:
        """Close it."""


_OPEN: list[Closable] = []


def close_later(opened: Closable) -> None:
    """Have it closed at the module's end.

    To leave that to the collector fails a test now and then: of a client in a cycle the socket may be collected first,
    and a socket that nobody has closed is a warning.
    """
    _OPEN.append(opened)


def close_all() -> None:
    """Close what was opened, the last first; one that cannot be closed leaves none of the others to the next module."""
    with ExitStack() as stack:
        for opened in _OPEN:
            stack.callback(opened.close)
        _OPEN.clear()


def left_open(within: float = 5.0) -> list[str]:
    """Return the sockets that are open, once threads that are ending have had so many seconds to close theirs.

    Also those in cycles: whether the collector closes them with a warning or without depends on what it comes to first.
    """
    deadline = time.monotonic() + within
    while (left := _open_sockets()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _open_sockets() -> list[str]:
    # By the type alone: `isinstance` asks a proxy what it stands for, which makes that.
    return [repr(one) for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() != -1]
