"""Comparison of what workers say of themselves with what is there: `processed` of heartbeats, and task-started events.

`processed` counts the tasks that a process has accepted since its start, and each of them has a task-started: the
count is raised, then the event is made. Both are put in order by the process's own Lamport clock, so that neither the
order in the stream nor a clock that was set matters. With a pool of threads a heartbeat may fall between the two: then
the count is ahead for a moment. What is missing stays missing, so only what never comes right again counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

EDGE = 1_000_000
"""Microseconds between a count and its event, at most: an ack to the broker lies between them."""

BUSY = 5
"""Heartbeats in a row of which one, at least, is not between a count and its event."""


class Stretch(msgspec.Struct):
    """Number of task-started events that are missing between two heartbeats of a process."""

    worker: str
    pid: int
    start: int
    """Time of the heartbeat before, in microseconds since 1970 UTC."""
    end: int
    """Time of the heartbeat after."""
    missing: int


class Beat(msgspec.Struct, gc=False, frozen=True, order=True):
    """A worker-online, -heartbeat or -offline."""

    order: int
    """Lamport's clock, or the time where it has none."""
    time: int
    stored: int
    processed: int
    active: int
    """-1 where it does not say."""


class Life:
    """A process from its start to its end. A process that comes back under the same id is another life."""

    def __init__(self, worker: str, pid: int) -> None:
        self.worker = worker
        self.pid = pid
        self._beats: list[Beat] = []
        self._orders, self._times = array("q"), array("q")
        """Times of the task-started events, as they came."""
        self.anchored = False
        """True if it came up in what was read: then every event of its is there, or missing."""
        self.began: int | None = None
        """Time of its first heartbeat."""
        self.latest: Beat | None = None
        """By its order."""
        self.offline = False
        self._idle = -1
        """Time of the last folded heartbeat that had no task active; -1: none."""
        self._carry = 0
        """Lead of the count at the heartbeat that all before was folded into."""
        self._settled: list[Stretch] = []
        self._late = 0
        """Starts that came after their stretch was folded."""
        self._folded_at = -1
        """The order up to which all is folded."""
        self._counted = 0
        """`processed` there."""
        self._exact = False
        """True if what comes after is compared from a known point on."""
        self._since: int | None = None
        """Time when that was."""
        self.starts = 0

    def beat(self, beat: Beat, *, first: bool, offline: bool) -> None:
        """Take note of one."""
        if beat.processed == 0:
            self._exact = True
            self.anchored = self.anchored or first
        if self.began is None or beat.time < self.began:
            self.began = beat.time
            if self._folded_at < 0:
                self._since = beat.time
        if self.latest is None or beat.order >= self.latest.order:
            self.latest = beat
            self.offline = offline
        if beat.order > self._folded_at:
            self._beats.append(beat)

    def start(self, order: int, time: int) -> None:
        """Take in a task-started."""
        self.starts += 1
        if order <= self._folded_at:
            self._late += 1
            return
        self._orders.append(order)
        self._times.append(time)

    def take_from(self, other: Life, began: int) -> None:
        """Take over the starts of this life that came before its first heartbeat and were taken for the other's."""
        kept = [(order, at) for order, at in zip(other._orders, other._times, strict=True) if at < began]
        for order, at in zip(other._orders, other._times, strict=True):
            if at >= began:
                self.start(order, at)
        other.starts -= len(other._orders) - len(kept)
        other._orders = array("q", [order for order, _ in kept])
        other._times = array("q", [at for _, at in kept])

    @property
    def accounted(self) -> bool:
        """Return whether it has sent a heartbeat."""
        return self.latest is not None

    def idle_at(self, horizon: int) -> int:
        """Time of its last heartbeat, of those stored until then, that had no task active; -1: there is none."""
        return max(
            self._idle, max((one.time for one in self._beats if not one.active and one.stored <= horizon), default=-1)
        )

    def last_beat(self, horizon: int) -> Beat | None:
        """Return the last of those stored until then and not folded."""
        return max((beat for beat in self._beats if beat.stored <= horizon), default=None)

    def forget_before(self, begin: int) -> None:
        """Drop what is older: it is not whole, as others of its events are not there any more."""
        if self.began is not None and self.began < begin:
            self._beats = [beat for beat in self._beats if beat.time >= begin]
            self.anchored = self._exact = False

    def missing(self, horizon: int, until: int | None = None) -> list[Stretch]:
        """Return where starts are missing, by the heartbeats stored until `horizon`; late ones are taken off.

        Those from after `until` have a say too, but what went missing after it is not counted.
        """
        _, values, beats = self._ahead(horizon)
        if until is not None:
            beats = [beat for beat in beats if beat.time <= until]
        found = self._found(values, beats)
        late = self._late
        while late > 0 and found:
            taken = min(late, found[0].missing)
            late -= taken
            found[0].missing -= taken
            if not found[0].missing:
                found.pop(0)
        return found

    def fold(self, until: int, keep: int = 1000) -> None:
        """Forget the heartbeats stored until then, and the starts before the last of them, but for what is missing."""
        raw, values, beats = self._ahead(None)
        count = sum(1 for beat in beats if beat.stored <= until)
        if not self.accounted:
            self._forget_starts(until)
        if count < 2:
            return  # the first two of a process that ran before are what it is measured by
        last = beats[count - 1]
        self._settled = self._found(values, beats[:count])
        while len(self._settled) > keep:
            self._settled[:2] = [_joined(self._settled[0], self._settled[1])]
        self._idle = max([self._idle, *(beat.time for beat in beats[:count] if not beat.active)])
        self._carry = raw[count - 1] - max(values[count - 1], self._base(values))
        self._beats = [beat for beat in self._beats if beat.order > last.order]
        keeping = [place for place, order in enumerate(self._orders) if order > last.order]
        self._orders = array("q", [self._orders[place] for place in keeping])
        self._times = array("q", [self._times[place] for place in keeping])
        self._counted, self._since, self._folded_at, self._exact = last.processed, last.time, last.order, True

    def _forget_starts(self, until: int) -> None:
        """Account of a process without any heartbeat, which nothing will ever be compared with."""
        keeping = [place for place, at in enumerate(self._times) if at >= until]
        self._orders = array("q", [self._orders[place] for place in keeping])
        self._times = array("q", [self._times[place] for place in keeping])

    def _found(self, values: Sequence[int], beats: Sequence[Beat]) -> list[Stretch]:
        """Stretches in which the value grows, after those that were put away."""
        found = [msgspec.structs.replace(one) for one in self._settled]
        before, began = self._base(values), self._since or 0
        for value, beat in zip(values, beats, strict=False):
            if value > before:
                stretch = Stretch(self.worker, self.pid, began, beat.time, value - before)
                if found and found[-1].end == stretch.start:
                    stretch = _joined(found.pop(), stretch)
                found.append(stretch)
                before = value
            began = beat.time
        return found

    def _base(self, values: Sequence[int]) -> int:
        """Return what counts as nothing missing. Of a process that ran before, its first two heartbeats tell."""
        if self._exact or not values:
            return 0
        return values[min(1, len(values) - 1)]

    def _ahead(self, horizon: int | None) -> tuple[list[int], list[int], list[Beat]]:
        """Return how far each heartbeat's count is ahead of the starts; of that, what stays so; and the heartbeats."""
        beats, highest = [], -1
        for beat in sorted(self._beats):
            # A count that falls within a life is nonsense.
            if (horizon is None or beat.stored <= horizon) and beat.processed >= highest:
                beats.append(beat)
                highest = beat.processed
        if not beats:
            return [], [], []
        orders = sorted(self._orders)
        counted, seen = self._counted, 0
        if not self._exact:
            counted, seen = beats[0].processed, bisect_left(orders, beats[0].order)
        raw = [beat.processed - counted - (bisect_left(orders, beat.order) - seen) + self._carry for beat in beats]
        return raw, _lasting(raw, self._certain(raw, beats)), beats

    def _certain(self, raw: Sequence[int], beats: Sequence[Beat]) -> int:
        """Return what is missing for certain at the last heartbeat, though some of its count be of starts after it.

        Such a task is one of the `active` ones; and one heartbeat of a few is not in between.
        """
        last = beats[-1]
        starts = zip(self._orders, self._times, strict=True)
        after = sum(1 for order, at in starts if order >= last.order and at <= last.time + EDGE)
        certain = raw[-1] - (after if last.active < 0 else min(after, last.active))
        told = [ahead - beat.active for ahead, beat in zip(raw, beats, strict=True) if beat.active >= 0]
        return max(certain, min(raw[-1 - BUSY : -1], default=0), *told)


def _lasting(raw: Sequence[int], certain: int) -> list[int]:
    """Cut each value to what no later one takes back, nor what is certain; a single low one between others is none."""
    values = [*raw[:-1], min(raw[-1], certain)]
    lowest = values[-1]
    found = [lowest]
    for place in range(len(values) - 2, -1, -1):
        value = values[place]
        if place:
            value = max(value, min(values[place - 1], values[place + 1]))
        lowest = min(lowest, value)
        found.append(lowest)
    found.reverse()
    return found


def _joined(one: Stretch, other: Stretch) -> Stretch:
    return Stretch(one.worker, one.pid, one.start, other.end, one.missing + other.missing)
