"""Parking in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celery_event_bridge.contract.broker import BrokerUnavailable, MessageRefused, Parcel


class FakeParking:
    """Keeps what is parked; `fail` makes calls fail, `blocked` leaves what is published unconfirmed."""

    def __init__(self) -> None:
        self.parked: list[Parcel] = []
        self.fail = False
        self.refuses: Callable[[Parcel], bool] = lambda _: False
        """Whether the broker closes the channel on this one, as it does on one that is too large."""
        self.blocked = False
        self.under_way: list[Parcel] = []

    @property
    def obstacle(self) -> str | None:
        return "blocked" if self.blocked else None

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        if self.fail:
            raise BrokerUnavailable("no right to write")
        if any(map(self.refuses, parcels)):
            raise MessageRefused("too large")
        if self.blocked:
            self.under_way = self.under_way or list(parcels[:1])
            return ()
        confirmed = [*self.under_way, *(parcel for parcel in parcels if parcel not in self.under_way)]
        self.under_way = []
        self.parked += confirmed
        return confirmed

    def close(self) -> None:
        pass
