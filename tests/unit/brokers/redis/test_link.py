"""The connection that hears and asks: what is heard may be answered while it is read."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import hiredis
import pytest

from celery_event_bridge.brokers.redis.link import Link

WORD = b">3\r\n$7\r\nmessage\r\n$7\r\ncontrol\r\n$4\r\nword\r\n"


class Connected:
    """Connection of redis-py's, as far as a link uses it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def pack_command(self, *command: Any) -> list[bytes]:
        return [hiredis.pack_command(command)]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_is_answered_while_it_is_read_holds_up_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    """A command is written with patience, and what is read after it without: else the loop stands until more comes."""
    ours, theirs = ends
    link = Link(Connected(ours), "a test")
    theirs.sendall(WORD)
    heard: list[Any] = []

    def answer(item: Any) -> None:
        heard.append(item)
        link.send("PUBLISH", "again", b"an event")

    assert [] == link.read(1.0, heard.append, answer)
    assert [[b"message", b"control", b"word"]] == heard
    assert b"an event" in theirs.recv(1000)
