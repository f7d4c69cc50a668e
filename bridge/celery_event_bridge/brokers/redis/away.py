"""Times in which there was no server, or another one than ours: nobody could publish then, or we did not hear it.

Pure state, no I/O. Where there was none, it is no gap.

A port on which nobody listens refuses; a network that is cut, or a server that is busy, lets wait. So from the first
refusal to the last one there was no server, if another process answers in the end. That one may have listened before
the last refusal, where something between refuses, such as a load balancer: then its age shows it. The age shows, too,
when the server came back, where nobody looked meanwhile. Sentinels name another server, which may be older: it is
nobody's master while they name the one that refuses, or none.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from redis.sentinel import MasterNotFoundError

from celery_event_bridge.brokers.redis.lease import Seen
from celery_event_bridge.brokers.redis.server import Server

INEXACT = 1.0
"""Seconds by which a server's age may be wrong: it is in whole ones."""

LAG = 1.0
"""Seconds by which the keys of a server that took another one's place may be older than what that one was."""


class Came(msgspec.Struct, frozen=True):
    """Coming to another server than before."""

    at: float
    silent: float
    """Seconds for which nothing had been heard then."""
    uptime: int | None
    """Seconds for which its process is there, where it says so."""
    tokens: Sequence[int]
    """Tokens of who held the lease at the other server."""

    def missed(self, seen: Seen, now: float) -> float | None:
        """Return how long nothing was heard at this server, if that is longer: in a partition, we were at another one.

        The lease that is seen there was last renewed at the time that it says. If it is one that we knew at the other
        server, until then there was but that one.
        """
        if seen.record is None:
            return None
        renewed = seen.record.renewed_at if seen.token in self.tokens else 0.0
        seconds = (seen.now - max(seen.record.at, renewed)) - (now - self.at)
        if self.uptime is not None:
            seconds = min(seconds, self.uptime + INEXACT)
        return seconds if seconds > self.silent + LAG else None


class Away:
    """Refusals since the connection was lost."""

    def __init__(self, sentinels: int, *, alone: bool) -> None:
        """`sentinels`: how many are asked for the server, 0 if none; `alone`: there is no second address."""
        self._sentinels = sentinels
        self._alone = alone
        self._first: float | None = None
        self._last = 0.0
        self.came: Came | None = None
        """Set until the server that we came to says what is confirmed there."""
        self.is_apart = False
        """True where the beginning of what was missed last is when both servers knew the same lease last."""

    def failed(self, exc: BaseException, now: float) -> None:
        """Take note of an attempt to connect."""
        if self._first is None and _is_refused(exc):
            self._first = self._last = now
        elif self._first is not None and (_is_refused(exc) or self._says_none(exc)):
            self._last = now

    def ended(self, found: Server, before: str, now: float) -> tuple[float, float] | None:
        """Return when there was no server, as another process than that of the id `before` answers now."""
        first, self._first = self._first, None
        if first is None or not self._alone or not before or found.run in ("", before):
            return None
        oldest = youngest = now
        if found.uptime is not None:
            oldest, youngest = now - found.uptime - INEXACT, now - found.uptime + INEXACT
        if youngest < self._last and not self._sentinels:
            return None
        until = max(self._last, min(oldest, now)) if found.uptime is not None else self._last
        return (first, until) if until > first else None

    def missed(self, seen: Seen | None, now: float) -> tuple[float, float] | None:
        """Return the time of which nothing was heard at the server that we came to, if it is longer than was known."""
        came = self.came
        if came is None or seen is None:
            return None
        self.came = None
        self.is_apart = seen.token in came.tokens and seen.record is not None and bool(seen.record.renewed_at)
        seconds = came.missed(seen, now)
        return (came.at - seconds, came.at) if seconds is not None else None

    def _says_none(self, exc: BaseException) -> bool:
        return any(
            isinstance(each, MasterNotFoundError) and str(each).count(" - ") < self._sentinels for each in _causes(exc)
        )


def _is_refused(exc: BaseException) -> bool:
    return any(isinstance(each, ConnectionRefusedError) for each in _causes(exc))


def _causes(exc: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and len(found) < 10:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found
