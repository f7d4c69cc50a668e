"""Deliveries that wait to be parked: what a sink will never store, and what cannot be decoded.

What waits for parking holds up nobody. While parking is not possible a few are kept whole, to try with. The others are
set aside: their bodies are dropped, and only their tags are held. They are given back, and so delivered again,

- as soon as parking is possible, or
- once they have outlived the live queue's TTL: then they leave it at once for overflow. Held longer they would pin the
  live queue's log on the broker's disk, which grows with all that passes (docs/decisions/0005-parking.md).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable, Message, MessageRefused, Parcel, Parking
from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.contract.values import as_text
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.forward.ledger import Delivery
from celery_event_bridge.forward.outage import Outage

if TYPE_CHECKING:
    from celery_event_bridge.observe.metrics import Metrics

PARK_AT_ONCE = 100
"""Messages handed to the parking queue together, and kept whole while it is away."""
KEPT_SHARE = 8
"""Part of BRIDGE_MAX_INFLIGHT_BYTES that is kept whole while parking is away: an eighth."""
MOST_ASIDE = 50_000
"""Messages set aside; past it no more are received in their place."""
TRY_AGAIN = 60.0
"""Seconds after which one that was set aside comes again to be tried, where none was kept whole."""
REFUSED_AGAIN = 600.0
"""Seconds after which one comes again that the broker has refused for good, as for its size."""
TTL_MARGIN = 1.0
"""Seconds, over the TTL, after which a message that is given back certainly leaves the live queue."""
CONFIRM_WAIT, BLOCKED_WAIT = 0.005, 0.25
"""Seconds between two looks for confirms, and while the broker blocks publishers."""
LOOKED_INTO = 65_536
"""Bytes of a body, at most, that is looked into for the name of its worker."""

Waiting = Delivery[Message]


class Parker:
    """Parks them, in order, and waits out the parking queue's outages: until then they stay unacknowledged."""

    def __init__(
        self,
        parking: Parking,
        metrics: Metrics,
        max_interval: float,
        max_inflight_bytes: int,
        leaves_after: float | None,
        clock: Clock = time,
    ) -> None:
        self._parking = parking
        self._metrics = metrics
        self._outage = Outage("parking", max_interval, clock)
        self._keep_bytes = max_inflight_bytes // KEPT_SHARE
        self._leaves_after = leaves_after + TTL_MARGIN if leaves_after else None
        """Seconds of age at which a live message that is given back goes on to overflow."""
        self._waiting: dict[Parcel, Waiting] = {}
        """Whole ones, in order."""
        self._aside: deque[Waiting] = deque()
        self._refused: deque[tuple[float, Waiting]] = deque()
        """Set aside because the broker would never take them, and when."""
        self._just_refused: list[Waiting] = []
        self._singly = False
        """True if one is tried at a time, to find out which one is refused."""
        self._try_due = self._heard_due = 0.0
        self._told = 0
        """Number that was stranded when it was last told of."""

    @property
    def waiting(self) -> bool:
        """Return whether a whole one waits."""
        return bool(self._waiting)

    @property
    def stranded(self) -> int:
        """Return how many can be neither forwarded nor parked now."""
        waiting = len(self._waiting) if self._outage.reason is not None else 0
        return waiting + len(self._aside) + len(self._refused)

    @property
    def available(self) -> bool:
        """Return whether the last attempt, if any, worked."""
        return self._outage.reason is None

    def patience(self, now: float) -> float:
        """Return the seconds after which `park` may have something to do."""
        if self._parking.under_way:
            return BLOCKED_WAIT if self._parking.obstacle else CONFIRM_WAIT
        return max(0.0, self._outage.due - now, self._heard_due - now)

    def add(self, delivery: Waiting) -> None:
        """Take one that is to be parked once it owes nothing else."""
        assert delivery.message is not None
        self._waiting[Parcel(delivery.message, delivery.refusals[0])] = delivery

    def park(self, now: float) -> Sequence[Waiting]:
        """Park what waits, if it is time to; returns the deliveries whose parking the broker has confirmed."""
        if not self._waiting or (now < self._outage.due and not self._parking.under_way):
            return ()
        batch = list(self._waiting)[: 1 if self._singly else PARK_AT_ONCE]
        try:
            confirmed = self._parking.park(batch)
        except BrokerUnavailable as exc:
            self._failed(exc, batch, now)
            return ()
        self._heard_due = now + CONFIRM_WAIT  # though nothing is under way yet, its connection may be asked first
        if confirmed:
            self._outage.over()
            notices.over("unparkable", "parking works again", subject="parking")
            self._told = 0
            self._singly = self._singly and len(self._waiting) > len(confirmed)
        elif self._parking.obstacle and now >= self._outage.due:
            self._outage.failed(self._parking.obstacle)
        return self._parked(confirmed)

    def set_aside(self, now: float) -> Sequence[Waiting]:
        """Choose those whose bodies are to be dropped while parking is away."""
        aside, self._just_refused = self._just_refused, []
        if self._outage.reason is None or not self._waiting:
            return aside
        newly, self._told = max(0, self.stranded - self._told), self.stranded
        notices.tell(
            "unparkable",
            f"{self.stranded} messages can be neither forwarded nor parked: {self._outage.reason}; they stay with the "
            "broker, and the others go on",
            subject="parking",
            count=newly,
        )
        under_way, size = self._parking.under_way, 0
        # Of an attempt that has not failed the first is kept, whatever its size: its connection may be asked first.
        tried = int(now >= self._outage.due)
        chosen = []
        for kept, (parcel, delivery) in enumerate(self._waiting.items(), 1):
            size += delivery.size
            if (kept > PARK_AT_ONCE or size > self._keep_bytes) and kept > tried and parcel not in under_way:
                chosen.append(parcel)
        if chosen and len(chosen) == len(self._waiting):
            self._try_due = now + TRY_AGAIN
        beyond = [self._waiting.pop(parcel) for parcel in chosen]
        self._aside += beyond
        return aside + beyond

    def room_beside(self) -> bool:
        """Return whether others may be received in the place of those set aside."""
        return len(self._aside) + len(self._refused) <= MOST_ASIDE

    def give_back(self, now: float) -> Sequence[Waiting]:
        """Choose those that are to be delivered again: to be parked now, or to leave the live queue."""
        back: list[Waiting] = []
        if self._leaves_after is not None:
            back += self._leaving(now - self._leaves_after)
        while self._refused and now - self._refused[0][0] >= REFUSED_AGAIN:
            back.append(self._refused.popleft()[1])
        if self._outage.reason is None:
            back += list(self._aside)
            self._aside.clear()
            return back
        if self._aside and not self._waiting and now >= self._try_due:
            self._try_due = now + TRY_AGAIN
            back.append(self._aside.popleft())
        return back

    def give_back_all(self) -> Sequence[Waiting]:
        """Give up on all that were set aside, as at a stop."""
        back = [*self._aside, *(delivery for _, delivery in self._refused)]
        self._aside.clear()
        self._refused.clear()
        return back

    def forget(self) -> None:
        """Forget all that wait: the broker has them back."""
        self._waiting.clear()
        self._aside.clear()
        self._refused.clear()
        self._just_refused.clear()
        self._singly, self._told, self._try_due = False, 0, 0.0
        # A late refusal of what is under way would be taken for one of what is handed over next.
        self._parking.close()

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._parking.close()

    def _parked(self, confirmed: Sequence[Parcel]) -> Sequence[Waiting]:
        deliveries = [delivery for parcel in confirmed if (delivery := self._waiting.pop(parcel, None)) is not None]
        for parcel in confirmed:
            self._metrics.rejected(parcel.why.reason)
            host = _worker(parcel.message)
            notices.tell(
                "parked",
                f"a message is parked: {parcel.why.reason}, from {host}; `celery-event-bridge rejected list` shows it",
                subject=parcel.why.reason,
            )
        return deliveries

    def _failed(self, exc: BrokerUnavailable, batch: Sequence[Parcel], now: float) -> None:
        refused = isinstance(exc, MessageRefused)
        if refused and len(batch) == 1:
            # Tried alone: it is this one, and the others are not to wait for it.
            delivery = self._waiting.pop(batch[0])
            self._refused.append((now, delivery))
            self._just_refused.append(delivery)
            notices.tell("unparkable", f"a message of {len(batch[0].message.body)} bytes cannot be parked: {exc}")
            return
        self._singly = self._singly or refused
        self._outage.failed(str(exc))

    def _leaving(self, received_before: float) -> list[Waiting]:
        """Take out the live ones that have outlived their TTL."""
        under_way: Collection[Parcel] = self._parking.under_way
        whole = [
            parcel
            for parcel, delivery in self._waiting.items()
            if not delivery.expired and delivery.received_at <= received_before and parcel not in under_way
        ]
        leaving = [self._waiting.pop(parcel) for parcel in whole]
        aside = [each for each in self._aside if not each.expired and each.received_at <= received_before]
        if aside:
            self._aside = deque(each for each in self._aside if each.expired or each.received_at > received_before)
        refused = [each for _, each in self._refused if not each.expired and each.received_at <= received_before]
        if refused:
            self._refused = deque(
                (at, each) for at, each in self._refused if each.expired or each.received_at > received_before
            )
        return leaving + aside + refused


def _worker(message: Message) -> str:
    """Return the worker that has sent a message, as `rejected list` names it: by its header, or an event in it."""
    named = message.headers.get("hostname")
    if not named and len(message.body) <= LOOKED_INTO:
        events = decode(message.body, message.content_type, message.headers).events
        named = events[0].source if events else None
    return as_text(named or "an unnamed worker")[:100]
