"""The parser of Redis's replies gives what redis-py's own gives, in whatever pieces the bytes arrive."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from celery_event_sinks.redis.entries import TimedParser

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=20)
    | st.sampled_from([b"\r\n", b"a\r\n$3\r\nb", b""]),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


class FakeSocket:
    """Gives the bytes piece by piece, then fails or is closed."""

    def __init__(self, pieces: list[bytes], error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            if self.error is not None:
                raise self.error
            return b""
        return self.pieces.pop(0)


def encoded(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(encoded(one) for one in value)
    return b"$%d\r\n%b\r\n" % (len(value), value)


def parser(pieces: list[bytes], error: Exception | None = None) -> TimedParser:
    subject = TimedParser(65536)
    connection = SimpleNamespace(
        _sock=FakeSocket(pieces, error), socket_timeout=1, encoder=None, health_check_interval=0
    )
    subject.on_connect(connection)
    return subject


@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_replies_in_pieces(values: list[Any], data: st.DataObject) -> None:
    """Values with line ends in them, lists in lists, one reply after the other."""
    whole = b"".join(encoded(value) for value in values)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)) if len(whole) > 1 else ())
    pieces = [whole[first:last] for first, last in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    subject = parser(pieces)
    assert values == [subject.read_response() for _ in values]
    with pytest.raises(RedisConnectionError, match="closed by the server"):
        subject.read_response()


def test_errors_are_values() -> None:
    """With the class that tells what they are; the reply after it is whole."""
    subject = parser([b"-NOPERM no\r\n*2\r\n-ERR x\r\n+OK\r\n*-1\r\n"])
    assert isinstance(subject.read_response(), NoPermissionError)
    error, done = subject.read_response()
    assert (ResponseError, b"OK") == (type(error), done)
    assert subject.read_response() is None


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"$x\r\nab\r\n"])
def test_what_is_not_redis(reply: bytes) -> None:
    """It says so."""
    with pytest.raises(InvalidResponse, match="is it Redis"):
        parser([reply]).read_response()


def test_a_reply_that_does_not_come() -> None:
    """A timeout is redis-py's."""
    with pytest.raises(RedisTimeoutError):
        parser([b"$5\r\nab"], TimeoutError("timed out")).read_response()
