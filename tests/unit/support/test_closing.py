"""What tests leave open until their module has ended is closed then, all of it."""

from __future__ import annotations

import socket

import pytest

from tests.support.closing import close_all, close_later, left_open


class Opened:
    """A thing that is closed once."""

    def __init__(self, closed: list[str], name: str, failure: str = "") -> None:
        self._closed = closed
        self._name = name
        self._failure = failure

    def close(self) -> None:
        """Close it."""
        self._closed.append(self._name)
        if self._failure:
            raise OSError(self._failure)


def test_one_that_cannot_be_closed_leaves_none_of_the_others_open() -> None:
    """The last is closed first, the failure is told of, and nothing is left to the next module."""
    closed: list[str] = []
    for name, failure in (("a", ""), ("b", "stuck"), ("c", "")):
        close_later(Opened(closed, name, failure))
    with pytest.raises(OSError, match="stuck"):
        close_all()
    assert ["c", "b", "a"] == closed


def test_a_socket_that_is_left_open_is_named() -> None:
    """Also in a cycle, in which the collector may come to it first; a closed one is not."""
    assert [] == left_open()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        cycle: list[object] = [server]
        cycle.append(cycle)
        (left,) = left_open(within=0.0)
        assert str(port) in left
    assert [] == left_open()
