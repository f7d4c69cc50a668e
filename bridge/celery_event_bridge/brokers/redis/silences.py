"""Times in which a subscriber has heard nothing, as places in the order that the others know too. Pure state, no I/O.

Whoever forwards says with each word what it has not heard. What another one has of that, it sets aside instead of
dropping it as confirmed: see `aside`. Where the two do not know each other's marks, rather too much is set aside.
"""

from __future__ import annotations

from collections import deque
from itertools import islice, zip_longest

import msgspec

KEPT = 60.0
"""Seconds for which a silence is told of: longer than anybody holds events of before it without a word. For longer
while something is not confirmed."""
MOST = 20
"""Silences that are told of; two older ones become one."""
MOST_MARKS = 10_000
"""Marks that are remembered; an older one is no longer known."""
EVER = 1e6
"""Seconds of the silence before a subscriber was there."""
ANY_TIME = float("-inf"), float("inf")


class Position(msgspec.Struct, frozen=True, array_like=True):
    """A place in the order of what is published."""

    mark: str
    events: int
    """Events after it that lie before this place; below 0, events before it that lie after this place."""


class Silence(msgspec.Struct, frozen=True, array_like=True):
    """Word of a replica that it has heard nothing for a time. Times are seconds before the word was sent."""

    begin: Position | None
    """Place behind the last that it had heard; None where it had heard none."""
    after: float
    """Time after which the mark was published from which that place is counted."""
    run_before: str
    """Beginning of the id of the server's process that it had heard; empty where it may not be asked for."""
    end: Position
    """Place before the first that it heard again."""
    before: float
    """Time before which the mark was published from which that place is counted."""
    run: str
    """Beginning of the id of the server's process that it has heard since."""
    seconds: float
    ended: float


class _Own(msgspec.Struct):
    begins: int
    """Number of the first event that is not before it."""
    number: int
    """Number of the first event after it; more than where it begins if some were heard at a place without a name."""
    begin: Position | None
    after: float
    run_before: str
    seconds: float
    until: float
    end: Position | None = None
    """None until a mark is heard."""
    before: float = 0.0
    run: str = ""


class Silences:
    """Silences of one subscriber, oldest first; the first one ends with its subscription."""

    def __init__(self, now: float) -> None:
        self._after = now - EVER
        """Time after which the last mark was published."""
        self._own: deque[_Own] = deque([_Own(1, 1, None, self._after, "", EVER, now)])
        self._forgotten = 0
        """The oldest ones, that have become part of a later one."""
        self._begun: tuple[Position | None, int] | None = None
        """Place where one has begun that has not ended."""
        self._places: dict[str, tuple[int, int]] = {}
        """By mark: the number of the next event, and how many silences there were before it."""

    def subscribed(self, run: str, number: int, now: float) -> None:
        """Take note that all is heard from now on, of that server, from the event of that number on."""
        last, self._begun = self._own[-1], None
        last.run, last.number, last.until = run[:8], number, now

    def mark(self, name: str, number: int, after: float, now: float) -> None:
        """Take note of a mark before the event of that number, published between those times."""
        self._after = max(self._after, after)
        if len(self._places) >= MOST_MARKS:
            del self._places[next(iter(self._places))]
        self._places[name] = number, self._forgotten + len(self._own)
        if (last := self._own[-1]).end is None:
            last.end, last.before = Position(name, last.number - number), now

    def begin(self, place: Position | None, number: int) -> None:
        """Take note that nothing is heard for certain from there on, before the event of that number."""
        if self._begun is None:
            self._begun = place, number

    def end(self, number: int, seconds: float, now: float) -> None:
        """Take note that it ends before the event of that number, now."""
        assert self._begun is not None, "begun"
        (begin, begins), self._begun = self._begun, None
        self._own.append(_Own(begins, number, begin, self._after, self._own[-1].run, seconds, now))
        if self._own[-2].end is None:
            self._merge(len(self._own) - 2)
        elif len(self._own) > MOST:
            self._merge(0)
            self._forgotten += 1

    def _merge(self, first: int) -> None:
        one, other = self._own[first], self._own[first + 1]
        other.begins, other.begin, other.after, other.run_before = one.begins, one.begin, one.after, one.run_before
        other.seconds = max(other.seconds, other.until - one.until + one.seconds)
        del self._own[first]

    def correct(self, seconds: float) -> None:
        """Let the last one be so long."""
        self._own[-1].seconds = seconds

    def told(self, now: float, age: float = 0.0) -> tuple[Silence, ...]:
        """Return those that the others have to know of; of so many seconds at least, if that is long."""
        return tuple(
            Silence(
                one.begin, now - one.after, one.run_before, one.end, now - one.before, one.run, one.seconds,
                now - one.until,
            )
            for one in self._own
            if one.end is not None and now - one.until < max(KEPT, age)
        )  # fmt: skip

    def span(self, other: Silence, sent: float, now: float) -> tuple[int, int]:
        """Return the numbers of the first event that lies in another one's silence, and of the first one after it.

        It was told of between the times `sent` and `now`.
        """
        own = self._own
        first = last = 0
        if other.begin is not None:
            known = self._places.get(other.begin.mark)
            if known is None:
                first = self._earliest(other.run_before, sent - other.after)
            elif known[1] == self._forgotten + len(own):
                first = known[0] + other.begin.events
            else:
                first = min(known[0] + other.begin.events, own[max(0, known[1] - self._forgotten)].begins)
        known = self._places.get(other.end.mark)
        if known is None:
            last = self._latest(other.run, now - other.before)
        else:
            last = max(known[0] + other.end.events, own[max(0, known[1] - self._forgotten - 1)].number)
        return first, last

    # A mark that is not known was published at its server while we did not hear that one.

    def _earliest(self, run: str, after: float) -> int:
        """Return the number of the first event that may lie behind such a mark of that server, after that time."""
        first, own = 0, self._own
        for one, following in zip(own, islice(own, 1, None), strict=False):
            if run and one.run == run and one.until < after:
                first = following.begins
        return first

    def _latest(self, run: str, before: float) -> int:
        """Return the number of the first event that surely lies behind such a mark of that server, before that time."""
        last, deaf_from = 0, float("-inf")
        for one, following in zip_longest(self._own, islice(self._own, 1, None)):
            if one.run == run != "":
                last = one.number if deaf_from <= before else last
                deaf_from = following.after if following is not None else float("inf")
        return last if before < deaf_from else self._own[-1].number
