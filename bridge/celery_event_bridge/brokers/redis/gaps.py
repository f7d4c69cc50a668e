"""Word to the operator on what is lost: what was dropped at once, and a silence once it is known how much nobody heard.

Each replica keeps the times of which it has heard nothing, and does not know that they are stored: before it was there,
and whenever it was cut off. With every mark it says which these are. Whoever forwards says up to when all is confirmed,
too, as does the record of the lease: the others let go of what that one had heard of theirs. What is left is lost once
those that live do not have it either: then whoever forwards tells of it, and says so to the others, who have kept it
until then. So a gap that waits is not lost with the one that would tell of it. Pure but for the notices.

What was heard at another server says nothing of this one. Who finds out that the two were apart says so, and who comes
from another one later has not heard what that one has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.lease import Outcome
from celery_event_bridge.brokers.redis.silences import KEPT
from celery_event_bridge.brokers.redis.times import Times, both, joined, length, unlike, without
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.values import counted

FRESH = 1.0
"""Seconds for which a replica counts as alive after its last mark: it sends two a second."""
ABSENT = 10.0
"""Seconds for which one that says nothing any more is waited for: it may stand still, and have heard everything."""
WAIT = 1.5
"""Seconds from when all is confirmed behind a silence until the others have heard of that, and said what they have."""
LATE = 1.5
"""Seconds by which a word may be late, so that the times in it are known well enough."""
MOST = 50
"""Times that wait, and that were told of and are remembered, so that none is told of twice."""
EVER = 1e9
"""Seconds of the time before a subscriber was there."""


class _Other(msgspec.Struct):
    """Last word of another replica."""

    at: float
    """Time when it was heard, later by as long as we stood still since."""
    unheard: Times
    """Times in which it has heard nothing."""
    aside: int
    """Events that it has set aside."""


class _Unheard(msgspec.Struct):
    """Time in which nothing was heard."""

    left: Times
    """Parts that nobody is known to have stored."""
    due: float | None = None
    """Time when it is to be looked at; None while something behind it is not confirmed."""
    apart: bool = False
    """True where we were at another server, behind a partition."""


class Gaps:
    """Times of which one replica has heard nothing, and that are not told of yet."""

    def __init__(self) -> None:
        self._unheard: list[_Unheard] = []
        self._others: dict[str, _Other] = {}
        self._told: list[tuple[float, tuple[float, float]]] = []
        """Times that were told of, by anybody, and when we knew."""
        self._away: Times = []
        """Times in which there was no server: nothing was published then."""
        self._stored: tuple[float, Times] = -EVER, []
        """Time up to which all is stored by the last word of who forwards, but for these times."""
        self._looked: float | None = None
        self._came, self._said_apart = -EVER, list[str]()
        """Time when we came from another server, and who has said since that it was at another one, too."""

    # What is known -------------------------------------------------------------------------------------------------

    def add(self, begin: float, end: float, *, apart: bool = False) -> None:
        """Take note of a time in which nothing was heard; `apart`: as we were at another server."""
        left = without([(begin, end)], [*self._away, *(times for _, times in self._told)])
        left = both(left, _unknown(*self._stored))
        if begin < end and left:
            self._unheard.append(_Unheard(left, apart=apart))
        if len(self._unheard) > MOST:  # two become one, which is looked at when the later one is due
            first = self._unheard.pop(0)
            self._unheard[0].left = joined([*first.left, *self._unheard[0].left])

    def away(self, begin: float, end: float) -> None:
        """Take note that there was no server between those times."""
        self._away = [*self._away, (begin, end)][-MOST:]

    def another_server(self, now: float) -> None:
        """Take note that what was said of another server does not hold for this one, to which we come now."""
        self._stored, self._came, self._said_apart = (-EVER, []), now, []

    def stored(self, until: float, times: Iterable[tuple[float, float]]) -> None:
        """Let go of what was published until then, as it is stored, but for those times."""
        unknown = _unknown(until, times)
        for one in self._unheard:
            one.left = both(one.left, unknown)

    def nobody_before(self) -> None:
        """Let go of the time before this one was there, as nobody has ever forwarded before."""
        for one in self._unheard:
            one.left = [(begin, end) for begin, end in one.left if begin > -EVER / 2]

    def taken_over(self, outcome: Outcome, now: float, since: float | None) -> None:
        """Take note of what nobody has heard: from the last word of the one before to the beginning of what is here.

        That is `since`; None where all behind that word is here.
        """
        if (record := outcome.record) is None:
            self.nobody_before()
            return
        said_at = now - (outcome.now - record.at)
        self.stored(said_at, [(said_at + begin, said_at + end) for begin, end in record.gaps])
        if since is not None:
            self.add(said_at, since)

    def heard(self, message: Control, sent: float, now: float, *, forwards: bool) -> None:
        """Take in another one's mark, which was sent after a time; `forwards` where it holds the lease."""
        if message.age is None:  # an older version, which does not say
            return
        if message.released:  # who has just come may not have said all yet
            for one in self._unheard:
                one.due = None if one.apart else one.due
        if message.apart and message.owner not in self._said_apart:
            self._said_apart.append(message.owner)
            for begin, end in message.apart:
                self.add(sent - begin, min(now - end, self._came), apart=True)
        if now - sent < LATE:
            told = [(now - begin, now - end) for begin, end in message.told]
            for one in self._unheard:
                one.left = unlike(one.left, told)
            self._remember(unlike(told, [times for _, times in self._told]), now)
        # It was said at some time between these two: rather too much counts as not heard.
        unheard = [(sent - begin, now - end) for begin, end in message.gaps]
        self._others[message.owner] = _Other(now, unheard, message.aside)
        if forwards and not message.aside:
            self._stored = sent - message.age, unheard
            self.stored(*self._stored)

    def _remember(self, times: Times, now: float) -> None:
        self._told = [*self._told, *((now, one) for one in times)][-MOST:]

    # What the others are told --------------------------------------------------------------------------------------

    def unheard(self, now: float) -> tuple[tuple[float, float], ...]:
        """Return the times that are not told of, in seconds before now."""
        return _ago((part for one in self._unheard for part in one.left), now)

    def apart(self, now: float) -> tuple[tuple[float, float], ...]:
        """Return those in which we were at another server, likewise."""
        return _ago((part for one in self._unheard if one.apart for part in one.left), now)

    def told(self, now: float) -> tuple[tuple[float, float], ...]:
        """Return the times that were told of in the last minute, in seconds before now."""
        return _ago((one for at, one in self._told if now - at < KEPT), now)

    # What the operator is told -------------------------------------------------------------------------------------

    def tell(self, where: str, now: float, confirmed: float, *, forwards: bool) -> bool:
        """Tell of those that are due; return whether any was.

        All that was heard before the time `confirmed` is, where this one forwards; else by the word of who does.
        """
        self._look(now)
        alive = self._alive(now)
        may_change = len(alive) < len(self._others) or any(one.aside for one in alive)
        confirmed = confirmed if forwards else self._stored[0]
        has_told = False
        for one in self._unheard:
            if not one.left:
                continue
            if confirmed < one.left[-1][1]:
                one.due = None
            elif one.due is None:
                one.due = now + WAIT
            elif now >= one.due and not may_change:
                has_told |= self._judge(one, where, now, alive, tells=forwards)
        self._unheard = [one for one in self._unheard if one.left]
        return has_told

    def tell_all(self, where: str, now: float, *, forwards: bool) -> None:
        """Tell of all that are left, as this one ends, unless another one is there that does."""
        self._look(now)
        alive = self._alive(now)
        for one in self._unheard if forwards and not alive else ():
            self._judge(one, where, now, alive, tells=True)

    def _look(self, now: float) -> None:
        if self._looked is not None and now - self._looked > FRESH:
            for other in self._others.values():  # we stood still: their words wait to be read
                other.at += now - self._looked
        self._looked = now
        self._others = {name: one for name, one in self._others.items() if now - one.at <= ABSENT}

    def _alive(self, now: float) -> Sequence[_Other]:
        return [one for one in self._others.values() if now - one.at <= FRESH]

    def _judge(self, one: _Unheard, where: str, now: float, alive: Sequence[_Other], *, tells: bool) -> bool:
        """Leave what nobody has heard, and tell of it; return whether there was any."""
        left = without(one.left, [times for _, times in self._told])
        for other in alive:
            left = both(left, other.unheard)
        one.left = left
        if not (tells and left):
            return False
        one.left = []
        self._remember(left, now)
        tell_of_times(left, where)
        return True


def _ago(times: Iterable[tuple[float, float]], now: float) -> tuple[tuple[float, float], ...]:
    return tuple((round(now - begin, 3), round(now - end, 3)) for begin, end in times)


def _unknown(until: float, times: Iterable[tuple[float, float]]) -> Times:
    return [*times, (until, EVER)]


def tell_of_times(times: Times, where: str) -> None:
    """Tell of times in which nobody has heard that server."""
    tell_of(Hole(seconds=length(times)), where)


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
