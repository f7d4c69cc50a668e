"""Commands that add entries, on their way: written as the socket takes them, their replies read as they come.

So Redis works on one batch while the next one is decoded. Nothing here waits unless it is told to, and nothing for
ever: a Redis that neither gives a whole answer nor makes room in a full socket for REPLY_TIMEOUT seconds is a lost one.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    RedisError,
    TimeoutError as RedisTimeoutError,
)

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import RedisClient, Reply
from celery_event_sinks.redis.replies import EntryReplies, NoReply
from celery_event_sinks.redis.timed import REPLY_TIMEOUT

CHUNK = 256 * 1024
"""Bytes to write, or to read, at a time; the reply to an entry takes about 30."""
NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def cuts(lost: BaseException | None) -> bool:
    """Tell whether a connection was lost because the other end has cut it."""
    return isinstance(lost, (RedisConnectionError, OSError)) and not isinstance(
        lost, (AuthenticationError, BusyLoadingError, TimeoutError)
    )


class EntryPipeline:
    """Commands that were written on a client's connection and not answered. The client asks nothing meanwhile."""

    def __init__(self, client: RedisClient, reply_timeout: float = REPLY_TIMEOUT) -> None:
        self._client = client
        self._reply_timeout = reply_timeout
        self.reset()

    def reset(self) -> None:
        """Begin with nothing on its way; the connection is another one, or will be."""
        self.owed = 0
        """Replies that are still to come."""
        self._unsent = memoryview(b"")
        self._was_full = False
        """True if the socket has no room since the last byte that it took."""
        self._unread = EntryReplies()
        self._failure: Exception | None = None
        self._heard_at = 0.0
        """Time when Redis last gave a sign of life, or had none to give."""
        self.was_cut = False
        """True if the other end has cut the connection that was lost last, with commands on it."""

    @property
    def full(self) -> bool:
        """Return whether a part of what was written waits for room in the socket."""
        return len(self._unsent) > 0

    def write(self, commands: Sequence[bytes]) -> None:
        """Send packed commands, as much as the socket takes now. A failure is told by the next `read`.

        To be called with room in the socket: the last of what was written before is on its way.
        """
        try:
            if not self.owed:
                self._heard_at = time.monotonic()
                self._client.connect()
            self.owed += len(commands)
            self._unsent = memoryview(b"".join(commands))
            self._push()
        except (OSError, SinkUnavailable) as exc:
            self._failure = exc

    def read(self, timeout: float) -> tuple[list[Reply], SinkUnavailable | None]:
        """Return replies that have come, entries' ids or ResponseErrors; waits up to `timeout` seconds for the first.

        With the second value set the connection was lost, and is closed: what became of the commands that have no reply
        yet nobody knows, and no reply to them will ever be taken for one.
        """
        replies: list[Reply] = []
        deadline = time.monotonic() + timeout
        lost: Exception | None = None
        try:
            while not self._take(replies):
                now = time.monotonic()
                if now >= self._heard_at + self._reply_timeout:
                    raise RedisTimeoutError(f"no reply for {self._reply_timeout:g} s")
                if now >= deadline:
                    break
                self._wait(min(deadline, self._heard_at + self._reply_timeout) - now)
        except (RedisError, OSError, NoReply, SinkUnavailable) as exc:
            lost = exc
        self.owed -= len(replies)
        if lost is None:
            return replies, None
        self.reset()
        self.was_cut = cuts(lost)
        if isinstance(lost, SinkUnavailable):
            self._client.close()
            return replies, lost
        return replies, self._client.lost(lost)

    def drop(self) -> None:
        """Disconnect, with nothing on its way any more."""
        self._client.close()
        self.reset()

    def abandon(self) -> None:
        """Wait no longer: the next `read` tells of a lost connection."""
        self._failure = RedisTimeoutError(f"not all was answered within {self._reply_timeout:g} s")

    def _take(self, replies: list[Reply]) -> bool:
        """Write and read what goes without waiting; whether any reply has come."""
        if self._failure is None:
            try:
                self._push()
            except OSError as exc:
                self._failure = exc
        if self._failure is not None:
            with suppress(OSError, RedisError):
                self._receive(replies)  # what Redis had answered before
            raise self._failure
        self._receive(replies)
        return bool(replies)

    def _push(self) -> None:
        """Write until the socket is full. Raises OSError."""
        sock = self._client.sock
        sock.settimeout(0.0)
        try:
            while len(self._unsent):
                self._unsent = self._unsent[sock.send(self._unsent[:CHUNK]) :]
                if self._was_full:
                    # Room in a full socket is a sign of life. That a socket takes bytes is none: it does so for a while
                    # when nobody is there any more.
                    self._heard_at = time.monotonic()
            self._was_full = False
        except NOT_NOW:
            self._was_full = True
        finally:
            sock.settimeout(self._reply_timeout)

    def _receive(self, replies: list[Reply]) -> None:
        """Append the replies that are there. Raises NoReply, or an error of the connection."""
        sock = self._client.sock
        sock.settimeout(0.0)
        try:
            while len(replies) < self.owed:
                if not (received := sock.recv(CHUNK)):
                    raise RedisConnectionError("Redis closed the connection")
                if answers := self._unread.feed(received):
                    # A whole answer is a sign of life, a byte of one is not: a proxy may let one through now and then.
                    self._heard_at = time.monotonic()
                for reply in answers:
                    # One by one: those before an error of the connection count.
                    replies.append(reply if isinstance(reply, bytes) else self._client.response_error(reply))  # noqa: PERF401
        except NOT_NOW:
            pass  # all that was there is read
        finally:
            sock.settimeout(self._reply_timeout)
        if len(replies) > self.owed:
            surplus = len(replies) - self.owed
            replies.clear()  # which of them answers which command nobody can tell
            raise NoReply(f"{surplus} more replies than commands")

    def _wait(self, seconds: float) -> None:
        """Wait until there may be something to read, or room to write."""
        sock = self._client.sock
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return
        poller = select.poll()
        poller.register(sock, select.POLLIN | (select.POLLOUT if self.full else 0))
        poller.poll(seconds * 1000)
