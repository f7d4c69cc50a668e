"""What is on its way to Redis, over a socket whose other end is the test's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.pipeline import EntryPipeline
from tests.support.servers.debian import until


class OnSocket(RedisClient):
    """A client on one end of a pair of sockets."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere")
        self.ours, self.redis = socket.socketpair()
        self._connection._sock = self.ours
        self._connection._parser._encoder = self._connection.encoder

    def connect(self) -> None:
        """It is connected, once."""
        if self._connection._sock is None:
            raise SinkUnavailable("gone")

    def end(self) -> None:
        self.ours.close()
        self.redis.close()


@pytest.fixture
def client() -> Iterator[OnSocket]:
    client = OnSocket()
    yield client
    client.end()


def test_replies_come_one_by_one(client: OnSocket) -> None:
    """Each is told of once, in order, and what is still owed is known."""
    pipeline = EntryPipeline(client)
    pipeline.write([b"a", b"b"])
    pipeline.write([b"c"])
    assert b"abc" == client.redis.recv(100)
    assert ([], None) == pipeline.read(0.0)
    client.redis.sendall(b"$3\r\n1-0\r\n$3\r\n")
    assert ([b"1-0"], None) == pipeline.read(1.0)
    assert 2 == pipeline.owed
    client.redis.sendall(b"2-0\r\n-OOM no room\r\n")
    (second, third), lost = pipeline.read(1.0)
    assert (b"2-0", "no room", None, 0) == (second, str(third).removeprefix("OOM "), lost, pipeline.owed)


def test_a_read_without_a_wait_does_not_wait(client: OnSocket) -> None:
    """Nor does one with nothing on its way; the other one returns when its time is over."""
    pipeline = EntryPipeline(client)
    pipeline.write([b"a"])
    assert ([], None) == pipeline.read(0.0)
    assert ([], None) == pipeline.read(0.01)


@given(st.integers(0, 3), st.booleans())
def test_a_lost_connection_answers_nothing_more(answered: int, by_reset: bool) -> None:
    """The replies that came before count, the others never come: not from the next connection either."""
    client = OnSocket()
    pipeline = EntryPipeline(client)
    pipeline.write([b"x"] * 4)
    client.redis.sendall(b"$3\r\n1-0\r\n" * answered + b"$3\r\n1-")
    if by_reset:
        # With everything unread this is a reset; a process just forked may still hold a copy of the descriptor, so
        # that closing alone would end nothing yet.
        client.redis.shutdown(socket.SHUT_RDWR)
        client.redis.close()
    else:
        client.redis.shutdown(socket.SHUT_WR)
    replies: list[Any] = []
    lost = None
    while lost is None:
        arrived, lost = pipeline.read(1.0)
        replies += arrived
    # A reset may overtake what was answered; what is told of is told in order.
    assert [b"1-0"] * len(replies) == replies
    assert len(replies) == answered or by_reset
    assert (0, 1) == (pipeline.owed, client.generation)
    client.end()


def test_a_reply_too_many_is_the_end(client: OnSocket) -> None:
    """Which of them answers which command nobody can tell, so none of them counts."""
    pipeline = EntryPipeline(client)
    pipeline.write([b"a", b"b"])
    client.redis.sendall(b"$3\r\n1-0\r\n" * 3)
    replies, lost = pipeline.read(1.0)
    assert [] == replies
    assert "1 more replies than commands" in str(lost)


def test_a_reply_of_another_kind_is_the_end(client: OnSocket) -> None:
    """It is told with what it was."""
    pipeline = EntryPipeline(client)
    pipeline.write([b"a", b"b"])
    client.redis.sendall(b"+OK\r\n$3\r\n1-0\r\n")
    replies, lost = pipeline.read(1.0)
    assert [] == replies
    assert "OK" in str(lost)


def test_a_full_socket_is_not_waited_for(client: OnSocket) -> None:
    """What it does not take follows as the other end reads; nothing is lost of it, or turned round."""
    pipeline = EntryPipeline(client)
    commands = [b"%06d" % number * 10 for number in range(50_000)]
    pipeline.write(commands)
    assert pipeline.full
    received = bytearray()

    def all_has_come() -> bool:
        pipeline.read(0.0)
        received.extend(client.redis.recv(1 << 20))
        return len(received) == 50_000 * 60

    until(all_has_come, 20, "all of it has come", pause=0.0)
    assert b"".join(commands) == received
    assert not pipeline.full


def test_a_silent_connection_is_a_lost_one(client: OnSocket) -> None:
    """Also while more and more is written to it: a socket takes bytes that nobody will ever read."""
    pipeline = EntryPipeline(client, reply_timeout=0.2)
    found: list[SinkUnavailable] = []

    def is_lost() -> bool:
        pipeline.write([b"x"])
        replies, lost = pipeline.read(0.01)
        assert [] == replies
        found.extend([lost] if lost else [])
        return bool(found)

    until(is_lost, 20, "the connection counts as lost", pause=0.0)
    assert "no reply for 0.2 s" in str(found[0])


def test_after_a_standstill_of_our_own_the_replies_count(client: OnSocket) -> None:
    """A bridge that was stopped for long reads what has come before it looks at the clock."""
    pipeline = EntryPipeline(client, reply_timeout=0.2)
    pipeline.write([b"x"])
    client.redis.sendall(b"$3\r\n1-0\r\n")
    pipeline._heard_at = time.monotonic() - 10
    assert ([b"1-0"], None) == pipeline.read(0.0)


def test_a_connection_that_cannot_be_had(client: OnSocket) -> None:
    """The next read tells why."""
    client.close()
    pipeline = EntryPipeline(client)
    pipeline.write([b"x"])
    replies, lost = pipeline.read(0.0)
    assert ([], "gone", 0) == (replies, str(lost), pipeline.owed)
