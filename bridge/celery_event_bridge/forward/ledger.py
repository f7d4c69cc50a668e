"""Which deliveries still owe confirms, and what may be acknowledged. Pure state, no I/O.

A delivery belongs to the lane, that is the opened channel, that it came on. A lane is a new object each time a
channel is opened, so a late verdict on a delivery of a closed channel finds its delivery forgotten and can
never acknowledge a new message that happens to have the same tag.

Acknowledgements are cumulative: the settled deliveries at the head of a lane, up to the first that still owes
something, are acknowledged by naming the last of them (the watermark of Jeffail/checkpoint). Only where one
delivery has held up the rest for a while are those behind it acknowledged one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from celery_event_bridge.contract import Rejection

MessageT = TypeVar("MessageT")

PINNED_AFTER = 1.0
"""Seconds that one delivery may hold up the acknowledgement of those behind it."""


class Ack(msgspec.Struct, frozen=True):
    """One `basic.ack`."""

    lane: Hashable
    tag: int
    multiple: bool


class Delivery(msgspec.Struct, Generic[MessageT], eq=False, gc=False):
    """A message in hand: what it still owes, and what was refused of it."""

    lane: Hashable
    tag: int
    size: int
    owes: int
    """Events of it that no sink has decided yet."""
    received_at: float
    message: MessageT
    refusals: tuple[Rejection, ...] = ()
    """Why it has to be parked; empty if it need not be."""
    forgotten: bool = False
    """It is acknowledged, or the broker's again."""

    @property
    def settled(self) -> bool:
        """Nothing is owed any more, by a sink or by the parking queue."""
        return not self.owes and not self.refusals

    @property
    def to_park(self) -> bool:
        """Its good events are stored; the message itself has to be parked before it may be acknowledged."""
        return not self.owes and bool(self.refusals)


class Ledger(Generic[MessageT]):
    """All deliveries in hand, by lane, in the order of their tags."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane[MessageT]] = {}
        self.messages = 0
        """Deliveries in hand: neither acknowledged nor given back."""
        self.size = 0
        """Their sizes, summed: bytes."""

    def enter(
        self,
        lane: Hashable,
        tag: int,
        size: int,
        owes: int,
        now: float,
        message: MessageT,
        refusal: Rejection | None = None,
    ) -> Delivery[MessageT]:
        """Take a delivery in hand that owes a verdict for each of `owes` events."""
        delivery = Delivery(lane, tag, size, owes, now, message, (refusal,) if refusal else ())
        if (entered := self._lanes.get(lane)) is None:
            entered = self._lanes[lane] = _Lane(now)
        entered.queue.append(delivery)
        self.messages += 1
        self.size += size
        return delivery

    def stored(self, deliveries: Iterable[Delivery[MessageT]]) -> list[Delivery[MessageT]]:
        """One event of each has been stored; a delivery is named once for each of its events.

        Returns those that owe nothing any more, and are in hand still.
        """
        done = []
        for delivery in deliveries:
            delivery.owes = owes = delivery.owes - 1
            if owes > 0:
                continue
            if owes < 0:
                raise ValueError(f"delivery {delivery.tag} owes nothing: a sink gave two verdicts on one event")
            if not delivery.forgotten:
                done.append(delivery)
        return done

    def refused(self, delivery: Delivery[MessageT], why: Rejection) -> list[Delivery[MessageT]]:
        """One event of it will never be stored. Returns what `stored` does."""
        delivery.refusals += (why,)
        return self.stored((delivery,))

    def parked(self, delivery: Delivery[MessageT]) -> None:
        """The broker has confirmed it in the parking queue."""
        delivery.refusals = ()

    def take_acks(self, now: float, *, singly: bool = True) -> list[Ack]:
        """What may be acknowledged now and was not named before.

        With `singly`, those stuck behind a delivery that has held them up for PINNED_AFTER seconds are named
        one by one. Not at shutdown: RabbitMQ loses single acknowledgements that come just before a close.
        """
        acks: list[Ack] = []
        for name, lane in self._lanes.items():
            watermark, messages, size = lane.take_prefix(now)
            self.messages -= messages
            self.size -= size
            if watermark:
                acks.append(Ack(name, watermark, multiple=True))
            if singly:
                for delivery in lane.take_stuck(now):
                    self.messages -= 1
                    self.size -= delivery.size
                    acks.append(Ack(name, delivery.tag, multiple=False))
        return acks

    def forget(self) -> int:
        """All lanes are closed: what was in hand is the broker's again. Returns how many deliveries that were."""
        count = self.messages
        for lane in self._lanes.values():
            for delivery in lane.queue:
                delivery.forgotten = True
        self._lanes.clear()
        self.messages = self.size = 0
        return count

    def largest(self) -> int:
        """The size of the largest delivery in hand, in bytes; 0 if there is none."""
        return max((delivery.size for lane in self._lanes.values() for delivery in lane.queue), default=0)

    def oldest(self) -> float | None:
        """When the oldest delivery in hand was received; None if there is none."""
        heads = [lane.queue[0].received_at for lane in self._lanes.values() if lane.queue]
        return min(heads, default=None)


class _Lane(Generic[MessageT]):
    """The deliveries of one opened channel, oldest first."""

    __slots__ = ("head_since", "queue", "searched_at")

    def __init__(self, now: float) -> None:
        self.queue: deque[Delivery[MessageT]] = deque()
        self.head_since = now
        self.searched_at = now

    def take_prefix(self, now: float) -> tuple[int, int, int]:
        """Take the settled ones off the head: the last tag to be acknowledged, or 0; their number; their size."""
        queue = self.queue
        watermark = messages = size = 0
        while queue:
            delivery = queue[0]
            if delivery.owes or delivery.refusals:
                break
            queue.popleft()
            delivery.forgotten = True
            messages += 1
            size += delivery.size
            watermark = delivery.tag
        if messages or not queue:
            self.head_since = now
        return watermark, messages, size

    def take_stuck(self, now: float) -> Sequence[Delivery[MessageT]]:
        """Take settled ones from behind a head that has not moved for a while; once in PINNED_AFTER seconds.

        They count no longer: one that can never be settled, as when it cannot be parked, must not stop the rest.
        """
        if now - self.head_since < PINNED_AFTER or now - self.searched_at < PINNED_AFTER:
            return ()
        self.searched_at = now
        taken = [delivery for delivery in self.queue if delivery.settled]
        if taken:
            self.queue = deque(delivery for delivery in self.queue if not delivery.settled)
        for delivery in taken:
            delivery.forgotten = True
        return taken
