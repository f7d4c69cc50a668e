"""What tests leave open on purpose until the last test of their module has ended."""

from __future__ import annotations

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
