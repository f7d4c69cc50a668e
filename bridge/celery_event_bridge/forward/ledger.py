"""Ledger of deliveries that still owe confirms, and of what may be acknowledged. Pure state, no I/O.

A delivery belongs to the lane, that is the opened channel, that it came on. A lane is a new object each time a
channel is opened, so a late verdict on a delivery of a closed channel finds its delivery released and can
never acknowledge a new message that happens to have the same tag.

Acknowledgements are cumulative: the settled deliveries at the head of a lane, up to the first that still owes
something, are acknowledged by naming the last of them (the watermark of Jeffail/checkpoint). Only where one
delivery has held up the rest for a while are those behind it acknowledged one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from celery_event_bridge.contract import Rejection
from celery_event_bridge.contract.broker import Ack

MessageT = TypeVar("MessageT")

PINNED_AFTER = 1.0
"""Seconds that one delivery may hold up the acknowledgement of those behind it."""
PARKING_PINNED_AFTER = 0.05
"""The same where that one waits to be parked."""

MANY_LANES = 8
"""Lanes past which those with nothing in hand are dropped, when another one begins."""


class Delivery(msgspec.Struct, Generic[MessageT], eq=False, gc=False):
    """A message in hand: what it still owes, and what was refused of it."""

    lane: Hashable
    tag: int
    size: int
    owes: int
    """Events of it that no sink has decided yet."""
    received_at: float
    message: MessageT | None
    """None once it was set aside."""
    refusals: tuple[Rejection, ...] = ()
    """Reason why it has to be parked; empty if it need not be."""
    released: bool = False
    """True once it is acknowledged, or the broker's again."""
    expired: bool = False
    """True if it came through overflow."""
    aside: bool = False
    """Only its tag is held: see `Ledger.set_aside`."""

    @property
    def settled(self) -> bool:
        """Return whether nothing is owed any more, by a sink or by the parking queue."""
        return not self.owes and not self.refusals


def is_released(delivery: Delivery[Any]) -> bool:
    """Tell whether it is out of hand."""
    return delivery.released


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
            entered = self._begin(lane, now)
        entered.queue.append(delivery)
        self.messages += 1
        self.size += size
        return delivery

    def _begin(self, lane: Hashable, now: float) -> _Lane[MessageT]:
        # Nobody says when one channel of several is closed, as where a quiet one is replaced. Looked for only where a
        # channel brings its first delivery.
        if len(self._lanes) >= MANY_LANES:
            self._lanes = {name: each for name, each in self._lanes.items() if each.queue or each.aside}
        entered = self._lanes[lane] = _Lane(now)
        return entered

    def stored(self, deliveries: Iterable[Delivery[MessageT]]) -> list[Delivery[MessageT]]:
        """Settle an event of each, which is stored; a delivery is named once for each of its events.

        Returns those that owe nothing any more, and are in hand still.
        """
        done = []
        for delivery in deliveries:
            delivery.owes = owes = delivery.owes - 1
            if owes > 0:
                continue
            if owes < 0:
                raise ValueError(f"delivery {delivery.tag} owes nothing: a sink gave two verdicts on one event")
            if not delivery.released:
                done.append(delivery)
        return done

    def refused(self, delivery: Delivery[MessageT], why: Rejection) -> list[Delivery[MessageT]]:
        """Settle an event that will never be stored. Returns what `stored` does."""
        delivery.refusals += (why,)
        return self.stored((delivery,))

    def parked(self, delivery: Delivery[MessageT]) -> None:
        """Take note that the broker has confirmed it in the parking queue."""
        delivery.refusals = ()

    def set_aside(self, delivery: Delivery[MessageT]) -> None:
        """Drop its message and hold its tag alone, for as long as it takes.

        While one of a lane is aside, those behind it are acknowledged one by one: a cumulative acknowledgement would
        name it too.
        """
        self.size -= delivery.size
        delivery.size = 0
        delivery.message = None
        delivery.aside = True
        self._lanes[delivery.lane].aside += 1

    def give_back(self, delivery: Delivery[MessageT]) -> Ack:
        """Let go of one that is to be delivered again. Returns what names it to the broker."""
        self.messages -= 1
        self.size -= delivery.size
        delivery.released = True
        if delivery.aside:
            self._lanes[delivery.lane].aside -= 1
        return Ack(delivery.lane, delivery.tag, multiple=False)

    def take_acks(self, now: float, *, singly: bool = True) -> list[Ack]:
        """Return what may be acknowledged now and was not named before.

        With `singly`, those stuck behind a delivery that has held them up for PINNED_AFTER seconds are named
        one by one. Not at shutdown: RabbitMQ loses single acknowledgements that come just before a close.
        """
        acks: list[Ack] = []
        for name, lane in self._lanes.items():
            if lane.aside:
                if singly:
                    acks += [Ack(name, delivery.tag, multiple=False) for delivery in self._let_go(lane.take_past(now))]
                continue
            watermark, messages, size = lane.take_prefix(now)
            self.messages -= messages
            self.size -= size
            if watermark:
                acks.append(Ack(name, watermark, multiple=True))
            if singly:
                acks += [Ack(name, delivery.tag, multiple=False) for delivery in self._let_go(lane.take_stuck(now))]
        return acks

    def take_held_up(self) -> list[Ack]:
        """Let go of what holds up settled ones, at the end: to be given back before these are acknowledged.

        What is undecided, waits to be parked or is aside would be the broker's again with the close anyway. Returns
        what names it to the broker. Not for what has an order: singly given back it comes again behind those after it.
        """
        holding = [delivery for lane in self._lanes.values() for delivery in lane.before_the_last_settled()]
        return [self.give_back(delivery) for delivery in holding]

    def _let_go(self, deliveries: Sequence[Delivery[MessageT]]) -> Sequence[Delivery[MessageT]]:
        self.messages -= len(deliveries)
        self.size -= sum([delivery.size for delivery in deliveries])
        return deliveries

    def forget(self) -> int:
        """Forget all deliveries: every lane is closed, and they are the broker's again. Returns how many they were."""
        count = self.messages
        for lane in self._lanes.values():
            for delivery in lane.queue:
                delivery.released = True
        self._lanes.clear()
        self.messages = self.size = 0
        return count

    def largest(self) -> int:
        """Return the size of the largest delivery in hand, in bytes; 0 if there is none."""
        return max((delivery.size for lane in self._lanes.values() for delivery in lane.queue), default=0)

    def oldest(self) -> float | None:
        """Return when the oldest delivery in hand was received; None if there is none."""
        heads = [lane.queue[0].received_at for lane in self._lanes.values() if lane.queue]
        return min(heads, default=None)


class _Lane(Generic[MessageT]):
    """The deliveries of one opened channel, oldest first."""

    __slots__ = ("aside", "head_since", "queue", "searched_at")

    def __init__(self, now: float) -> None:
        self.aside = 0
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
                if not delivery.released:
                    break
                queue.popleft()  # it was given back
                continue
            queue.popleft()
            delivery.released = True
            messages += 1
            size += delivery.size
            watermark = delivery.tag
        if messages or not queue:
            self.head_since = now
        return watermark, messages, size

    def before_the_last_settled(self) -> Sequence[Delivery[MessageT]]:
        """Find those in hand that owe or wait, and keep settled ones from being acknowledged."""
        owing: list[Delivery[MessageT]] = []
        found = 0
        for delivery in self.queue:
            if delivery.settled:
                found = len(owing)
            elif not delivery.released:
                owing.append(delivery)
        # Whatever is aside keeps its whole lane from a cumulative acknowledgement.
        return [*owing[:found], *(delivery for delivery in owing[found:] if delivery.aside)]

    def take_past(self, now: float) -> Sequence[Delivery[MessageT]]:
        """Take the settled ones up to the first that owes something, past those that are aside or were given back."""
        queue, taken = self.queue, []
        while queue:
            delivery = queue[0]
            if delivery.settled:
                delivery.released = True
                taken.append(delivery)
            elif not delivery.aside and not delivery.released:
                break
            queue.popleft()
        self.head_since = now if taken or not queue else self.head_since
        return [*taken, *self.take_stuck(now)]

    def take_stuck(self, now: float) -> Sequence[Delivery[MessageT]]:
        """Take settled ones from behind a head that has not moved for a while, and look for them as often.

        They count no longer: one that can never be settled, as when it cannot be parked, must not stop the rest.
        """
        head = self.queue[0] if self.queue else None
        # One that waits for nothing but its parking may do so for long.
        patience = PARKING_PINNED_AFTER if head is not None and head.refusals and not head.owes else PINNED_AFTER
        if now - self.head_since < patience or now - self.searched_at < patience:
            return ()
        self.searched_at = now
        taken = [delivery for delivery in self.queue if delivery.settled]
        if taken:
            self.queue = deque(delivery for delivery in self.queue if not delivery.settled)
        for delivery in taken:
            delivery.released = True
        return taken
