"""Parking in memory."""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.contract.broker import BrokerUnavailable, Parcel


class FakeParking:
    """Keeps what is parked; `fail` makes the next call fail."""

    def __init__(self) -> None:
        self.parked: list[Parcel] = []
        self.fail = False

    def park(self, parcels: Sequence[Parcel]) -> None:
        if self.fail:
            raise BrokerUnavailable("blocked")
        self.parked += parcels

    def close(self) -> None:
        pass
