"""Window of events that one subscriber holds: heard, handed out, confirmed. Pure state, no I/O.

Redis writes what is published to each subscriber in one order, the same for all. So replicas can speak of a place in
it: a *mark* is a message of ours that all of them hear between the events, and a position is so many events after a
mark. The one that forwards says up to which position all is confirmed, and the others drop what lies before it.

Events are numbered as they are heard, from 1. A *hole* is where events were not heard, as the connection was lost, or
were dropped, as there was no room: it is come to when somebody forwards what comes after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from celery_event_bridge.brokers.envelope import Heard, opened
from celery_event_bridge.brokers.redis.aside import ENTRY_MEMORY, Aside
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.lane import Lane
from celery_event_bridge.brokers.redis.silences import ANY_TIME, EVER, MOST_MARKS, Position, Silence, Silences
from celery_event_bridge.contract.broker import Ack


class Window:
    """Events that were heard and are not known to be confirmed, oldest first."""

    def __init__(self, max_bytes: int, now: float) -> None:
        """Begin; past `max_bytes` of events that wait, the oldest are dropped."""
        self._max_bytes = max_bytes
        self._waiting: deque[bytes | Hole] = deque()
        """Payloads, and holes between them."""
        self._head = 1
        """Number of the first event in it, or of the next to come."""
        self._next = 1
        self.waiting_bytes = 0
        self._again: deque[Heard] = deque()
        """Events that were handed out and came back: older than all that waits."""
        self._lane = Lane()
        self._lanes = [self._lane]
        self._marks: deque[tuple[str, int, float]] = deque()
        """Name, number of the next event, and when it was heard."""
        self._numbers: dict[str, int] = {}
        self._lost_from = 1
        """Number of the first that was dropped; up to the head."""
        self.since = now
        """Time from which on all was heard, but for the holes that are still to come."""
        self._deaf: deque[tuple[float, float]] = deque()
        """Beginnings and ends of the holes of silence that are still to come."""
        self._times: deque[tuple[int, float]] = deque([(1, now)], MOST_MARKS)
        """Number of the next event, and a time before which it was not heard; also across holes."""
        self.silences = Silences(now)
        self.aside = Aside()
        """Events that are confirmed nowhere, though what lies after them is."""

    @property
    def is_whole(self) -> bool:
        """Return whether no time in which nothing was heard is among what waits."""
        return not self._deaf

    @property
    def waiting(self) -> int:
        """Events that were not handed out."""
        return self._next - self._head + len(self._again)

    @property
    def next_number(self) -> int:
        """Number of the next event that is heard."""
        return self._next

    # What is heard -------------------------------------------------------------------------------------------------

    def hear(self, payload: bytes) -> None:
        """Add an event."""
        self._waiting.append(payload)
        self._next += 1
        self.waiting_bytes += len(payload) + ENTRY_MEMORY
        if self.waiting_bytes + self.aside.bytes > self._max_bytes:
            self._drop_oldest()

    def hear_again(self, payload: bytes) -> None:
        """Add an event that a replica has published again, or that was parked."""
        self.aside.heard_again(payload)
        self.hear(payload)

    def mark(self, name: str, now: float, after: float = -EVER) -> None:
        """Take note of a mark, in its place between the events; it was published after that time."""
        if len(self._marks) >= MOST_MARKS:
            self._numbers.pop(self._marks.popleft()[0], None)
        self._marks.append((name, self._next, now))
        self._numbers[name] = self._next
        self.silences.mark(name, self._next, after, now)
        if self._times[-1][0] == self._next:
            self._times.pop()
        self._times.append((self._next, now))

    def subscribed(self, run: str, now: float) -> None:
        """Take note that all is heard from now on, of that server."""
        self.silences.subscribed(run, self._next, now)

    def cut(self) -> None:
        """Take note that the connection is lost: what is heard before `deafened` may not be all."""
        last = Position(self._marks[-1][0], self._next - self._marks[-1][1]) if self._marks else None
        self.silences.begin(last, self._next)

    def deafened(self, seconds: float, now: float) -> None:
        """Take note that nothing was heard for so long, until now."""
        self._waiting.append(Hole(seconds=seconds))
        self._forget_marks(seconds, now)

    def _forget_marks(self, seconds: float, now: float) -> None:
        # A position is counted from a mark: none can be counted across the hole.
        self.cut()
        self.silences.end(self._next, seconds, now)
        self._deaf.append((now - seconds, now))
        self._marks.clear()
        self._numbers.clear()

    def missed(self, seconds: float) -> None:
        """Take note that the last hole, if it is still to come, is so long: we heard something else meanwhile."""
        for at in range(len(self._waiting) - 1, -1, -1) if self._deaf else ():
            if isinstance(self._waiting[at], Hole):
                self._waiting[at] = Hole(seconds=seconds)
                end = self._deaf.pop()[1]
                self._deaf.append((end - seconds, end))
                self.silences.correct(seconds)
                return

    def _drop_oldest(self) -> None:
        # Most of them are in the hand of nobody else: see `take`, which tells of it, unless another one has them.
        waiting, aside = self._waiting, self.aside
        while aside.events and self.waiting_bytes + aside.bytes > self._max_bytes:
            aside.drop_oldest()
        while self.waiting_bytes > self._max_bytes and self._next - self._head > 1:
            entry = waiting.popleft()
            if isinstance(entry, Hole):
                waiting.appendleft(entry)
                self._step_over_hole()
                continue
            self._head += 1
            self.waiting_bytes -= len(entry) + ENTRY_MEMORY

    def _step_over_hole(self) -> None:
        """Put a hole behind the next event, which is dropped: both are told of when that place is come to."""
        hole = self._waiting.popleft()
        second = self._waiting.popleft()
        if isinstance(second, Hole) and isinstance(hole, Hole):
            self._deaf.popleft()
            self._waiting.appendleft(Hole(seconds=hole.seconds + second.seconds))
            return
        self._waiting.appendleft(hole)
        self._waiting.appendleft(second)

    # What is handed out --------------------------------------------------------------------------------------------

    def take(self, most: int) -> tuple[list[Heard], list[Hole]]:
        """Hand out up to so many, oldest first; and the holes that lie before or between them."""
        taken: list[Heard] = []
        holes: list[Hole] = []
        lane, waiting = self._lane, self._waiting
        while self._again and len(taken) < most:
            taken.append(msgspec.structs.replace(self._again.popleft(), lane=lane))
        if self._lost_from < self._head:
            holes.append(Hole(dropped=self._head - self._lost_from))
        number = self._head
        room = most - len(taken)
        while room > 0 and waiting:
            entry = waiting.popleft()
            if isinstance(entry, Hole):
                number += entry.dropped
                if not entry.dropped:
                    self.since = self._deaf.popleft()[1]
                holes.append(entry if entry.dropped else Hole(entry.seconds, until=self.since))
                continue
            self.waiting_bytes -= len(entry) + ENTRY_MEMORY
            taken.append(opened(entry, lane, number))
            number += 1
            room -= 1
        self._head = self._lost_from = number
        lane.queue += taken
        return taken, holes

    def acknowledge(self, acks: Iterable[Ack]) -> None:
        """Let go of what is confirmed."""
        for ack in acks:
            if isinstance(ack.lane, Lane):
                ack.lane.acknowledge(ack.tag, multiple=ack.multiple)
        if len(self._lanes) > 1:
            self._lanes = [lane for lane in self._lanes if lane.queue or lane is self._lane]

    def give_back(self, acks: Iterable[Ack]) -> None:
        """Take single ones back, to be handed out again."""
        returned: list[Heard] = []
        for ack in acks:
            lane = ack.lane
            if lane in self._lanes and isinstance(lane, Lane):
                returned += [each for each in lane.queue if each.tag == ack.tag]
                lane.acknowledge(ack.tag, multiple=False)
        if returned:
            self._begin_lane()
            self._again = deque(sorted([*self._again, *returned], key=lambda each: each.tag))

    def put_back(self) -> None:
        """Take back all that was handed out and is not confirmed, to be handed out again."""
        held = [each for lane in self._lanes for each in lane.queue if each.tag not in lane.singly]
        self._again = deque(sorted([*self._again, *held], key=lambda each: each.tag))
        self._lanes = []
        self._begin_lane()

    def _begin_lane(self) -> None:
        # In one lane numbers grow: what is handed out again comes in another one.
        self._lane = Lane()
        self._lanes = [*self._lanes, self._lane]

    # Positions -----------------------------------------------------------------------------------------------------

    def confirmed(self) -> Position | None:
        """Return the place up to which all is confirmed; None where it cannot be named, as no mark was heard before."""
        number = self._first()
        marks = self._marks
        while len(marks) > 1 and marks[1][1] <= number:
            self._numbers.pop(marks.popleft()[0], None)
        if not marks or marks[0][1] > number:
            return None
        return Position(marks[0][0], number - marks[0][1])

    def age(self, now: float) -> float:
        """Return for how many seconds something has not been confirmed, about; 0.0 where all is, as far as we know."""
        number, times = self._first(), self._times
        while len(times) > 1 and times[1][0] <= number:
            times.popleft()
        since = [begin for begin, _ in islice(self._deaf, 1)]
        if number < self._next:
            since.append(times[0][1])
        return max(0.0, now - min(since, default=now))

    def _first(self) -> int:
        """Return the number of the first event that is not confirmed."""
        firsts = [lane.queue[0].tag for lane in self._lanes if lane.queue]
        return min([self._lost_from, *firsts, *[each.tag for each in islice(self._again, 1)]])

    def knows(self, position: Position | None) -> bool:
        """Return whether all that lies after that place was heard, and is here."""
        return position is not None and position.mark in self._numbers

    def is_past(self, mark: str) -> bool:
        """Return whether a mark was heard, and all before it is confirmed."""
        return self._numbers.get(mark, self._next + 1) <= self._head and not self._again

    def confirmed_elsewhere(
        self, position: Position | None, silences: Iterable[Silence] = (), said: tuple[float, float] = ANY_TIME
    ) -> bool:
        """Drop what lies before that place, if it is known; set aside what lies in the silences of who has said so.

        That was said between those two times. Returns whether the place is known.
        """
        start = self._numbers.get(position.mark) if position is not None else None
        if position is None or start is None:
            return False
        spans = [span for one in silences if (span := self.silences.span(one, *said))[1] > self._first()]
        end = min(start + position.events, self._next)
        for first, last in spans:  # what was dropped here who forwards cannot tell of: it has not heard it
            self.aside.dropped += max(0, min(last, self._head, end) - max(first, self._lost_from))
        self._drop_before(end, spans)
        return True

    def drop_older(self, than: float) -> None:
        """Drop what was heard before that time, by the marks between: from then on that is not here any more."""
        marks = self._marks
        while len(marks) > 1 and marks[1][2] <= than:
            self._numbers.pop(marks.popleft()[0], None)
        if marks and marks[0][2] <= than:
            self._drop_before(marks[0][1])
            self.since = max(self.since, marks[0][2])

    def _drop_before(self, number: int, spans: Sequence[tuple[int, int]] = ()) -> None:
        again, waiting = self._again, self._waiting
        while again and again[0].tag < number:
            one = again.popleft()
            if _is_in(one.tag, spans):
                self.aside.add(one)
        while waiting and (self._head < number or (isinstance(waiting[0], Hole) and self._head <= number)):
            entry = waiting.popleft()
            if isinstance(entry, Hole):
                self._head += entry.dropped
                if not entry.dropped:
                    self.since = self._deaf.popleft()[1]
                continue
            if _is_in(self._head, spans):
                self.aside.add(entry)
            self._head += 1
            self.waiting_bytes -= len(entry) + ENTRY_MEMORY
        self._lost_from = max(self._lost_from, min(number, self._head))


def _is_in(number: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number < last for first, last in spans)
