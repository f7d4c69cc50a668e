"""Word to the operator on what is lost: what was dropped at once, and a silence once it is known how much nobody heard.

All say what they have not heard, so a time in which another one has heard is no gap: who has it publishes it again.
That is certain once it would have set it aside, and has said that nothing is left of it. Pure but for the notices.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.silences import Silence
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.values import counted

FRESH = 1.0
"""Seconds for which a replica counts as alive after its last mark: it sends two a second."""
WAIT = 1.5
"""Seconds from when all is confirmed behind a silence until the others have heard of that, and said what they have."""

MOST = 50
"""Times that were told of and are remembered, so that none is told of twice."""
Times = list[tuple[float, float]]
"""Beginnings and ends, apart from each other."""


class Gaps:
    """Silences of one replica that are not told of yet."""

    def __init__(self) -> None:
        self._others: dict[str, tuple[float, Sequence[Silence], int]] = {}
        """By the name of a replica: when its last mark was heard, what it had not heard, and events set aside there."""
        self._told: Times = []
        self._pending: list[tuple[Hole, float | None]] = []
        """Silences, and when they are due to be told of; None while something behind them is not confirmed."""

    def heard(self, message: Control, now: float) -> None:
        """Take in another one's mark."""
        self._others[message.owner] = now, message.silences, message.aside
        if message.released:  # it may have been cut, and has heard no mark since from which it could say where
            del self._others[message.owner]

    def add(self, hole: Hole) -> None:
        """Take note of a silence that was come to."""
        self._pending.append((hole, None))

    def tell(self, where: str, now: float, confirmed: float, *, forwards: bool) -> None:
        """Tell of those that are due. All that was heard before the time `confirmed` is."""
        alive = [one for one in self._others.values() if now - one[0] <= FRESH]
        pending: list[tuple[Hole, float | None]] = []
        for hole, due in self._pending:
            if due is None and confirmed >= hole.until:
                if forwards:  # else another one is behind it, and tells of its own
                    pending.append((hole, now + WAIT))
            elif due is None or now < due or any(aside for _, _, aside in alive):
                pending.append((hole, due))
            else:
                self._tell(hole, where, alive)
        self._pending = pending

    def tell_all(self, where: str, now: float) -> None:
        """Tell of all that are left, as this one ends."""
        alive = [one for one in self._others.values() if now - one[0] <= FRESH]
        for hole, _ in self._pending:
            self._tell(hole, where, alive)
        self._pending = []

    def _tell(self, hole: Hole, where: str, alive: Sequence[tuple[float, Sequence[Silence], int]]) -> None:
        left: Times = [(hole.until - hole.seconds, hole.until)]
        for at, silences, _ in alive:
            left = _both(left, [(at - one.ended - one.seconds, at - one.ended) for one in silences])
        for begin, end in self._told:  # what was missed before a takeover may have been come to as a hole, too
            left = [part for one in left for part in ((one[0], min(one[1], begin)), (max(one[0], end), one[1]))]
            left = [part for part in left if part[0] < part[1]]
        self._told = [*self._told, *left][-MOST:]
        if seconds := sum(end - begin for begin, end in left):
            tell_of(Hole(seconds=seconds), where)


def _both(some: Times, others: Times) -> Times:
    found: Times = []
    for begin, end in sorted((max(one[0], other[0]), min(one[1], other[1])) for one in some for other in others):
        begins = max(begin, found[-1][1]) if found else begin  # silences may overlap: each is rather too long
        if begins < end:
            found.append((begins, end))
    return found


def tell_of_aside(count: int, where: str) -> None:
    """Tell of events that this one alone may have had, and count them."""
    notices.tell(
        "dropped",
        f"{counted(count, 'event')} of Redis at {where} dropped: the bridge that forwards has not heard them, though "
        "they were published again, or there was no room for them in BRIDGE_MAX_INFLIGHT_BYTES",
        subject="aside",
        count=count,
    )


def tell_of(hole: Hole, where: str) -> None:
    """Tell of a hole in what is forwarded of that server, and count it."""
    where = f"Redis at {where}"
    if hole.seconds:
        notices.tell(
            "gap",
            f"no bridge was subscribed to the events of {where} for {hole.seconds:.3g} s: what was published in "
            "that time is lost. More replicas make that less likely, unless it was Redis that was away",
            subject="subscription",
            seconds=hole.seconds,
        )
    if hole.dropped:
        notices.tell(
            "dropped",
            f"{counted(hole.dropped, 'event')} of {where} dropped: the sink took none for so long that "
            "BRIDGE_MAX_INFLIGHT_BYTES was used up, and Redis keeps no events",
            subject="memory",
            count=hole.dropped,
        )
