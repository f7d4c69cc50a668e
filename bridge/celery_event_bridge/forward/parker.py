"""Deliveries that wait to be parked: what a sink will never store, and what cannot be decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from celery_event_bridge.contract.broker import BrokerUnavailable, Message, Parcel, Parking
from celery_event_bridge.forward.ledger import Delivery
from celery_event_bridge.forward.outage import Outage

if TYPE_CHECKING:
    from celery_event_bridge.observe.metrics import Metrics

PARK_AT_ONCE = 100
"""Messages parked in one call: they share a wait for confirms."""


class Parker:
    """Parks them, in order, and waits out the parking queue's outages: until then they stay unacknowledged."""

    def __init__(self, parking: Parking, metrics: Metrics, max_interval: float) -> None:
        self._parking = parking
        self._metrics = metrics
        self._outage = Outage("parking", max_interval)
        self._waiting: deque[Delivery[Message]] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is something to park."""
        return bool(self._waiting)

    @property
    def available(self) -> bool:
        """Whether the last attempt, if any, worked."""
        return self._outage.reason is None

    @property
    def due(self) -> float:
        """When to try again, by the monotonic clock."""
        return self._outage.due

    def add(self, delivery: Delivery[Message]) -> None:
        """To be parked once it owes nothing else."""
        self._waiting.append(delivery)

    def park(self, now: float) -> Sequence[Delivery[Message]]:
        """Park what waits, if it is time to; returns the deliveries whose parking the broker has confirmed."""
        if not self._waiting or now < self._outage.due:
            return ()
        deliveries = list(islice(self._waiting, PARK_AT_ONCE))
        parcels = [Parcel(delivery.message, delivery.refusals[0]) for delivery in deliveries]
        try:
            self._parking.park(parcels)
        except BrokerUnavailable as exc:
            self._outage.failed(str(exc))
            return ()
        self._outage.over()
        for parcel in parcels:
            self._waiting.popleft()
            self._metrics.rejected(parcel.why.reason)
        return deliveries

    def forget(self) -> None:
        """The broker has them back."""
        self._waiting.clear()

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._parking.close()
