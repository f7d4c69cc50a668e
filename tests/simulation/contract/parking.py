"""Model of the parking queue, by the contract's protocol `Parking`, on a connection of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from celery_event_bridge.contract.broker import BrokerUnavailable, MessageRefused, Parcel
from tests.simulation.process import Process
from tests.simulation.rabbitmq.modelled_rabbitmq import Connection, RabbitMQ


class ModelParking:
    """See `celery_event_bridge.contract.broker.Parking`: it publishes, and never waits for a confirm."""

    def __init__(self, process: Process, rabbit: RabbitMQ, too_large: int) -> None:
        self._process = process
        self._rabbit = rabbit
        self._too_large = too_large
        self._connection: Connection | None = None
        self._under_way: dict[Parcel, None] = {}
        self._confirmed: list[Parcel] = []
        self.refuse = 0
        """Calls that are refused: a right is missing."""

    @property
    def under_way(self) -> Collection[Parcel]:
        return self._under_way.keys()

    @property
    def obstacle(self) -> str | None:
        return "RabbitMQ takes nothing, by an alarm" if self._rabbit.alarm else None

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        if self.refuse or self._rabbit.parking_outages:
            self.refuse = max(0, self.refuse - 1)
            self._fail("no right to write")
        if self._connection is None:
            self._process.wait(self._rabbit.delay())
            if not self._rabbit.up:
                self._fail("connection refused")
            self._connection = self._rabbit.connect(f"{self._process.name}, parking", lambda _: None)
        if self._connection.error is not None:
            self._fail(self._connection.error)
        if self._rabbit.refuses_large and any(len(parcel.message.body) > self._too_large for parcel in parcels):
            self._rabbit.has_refused = True
            self.close()
            raise MessageRefused("larger than the largest message")
        for parcel in parcels:
            if parcel not in self._under_way and parcel not in self._confirmed:
                self._under_way[parcel] = None
                self._connection.to_broker(self._arrive, parcel, self._connection)
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._under_way, self._confirmed = {}, []
        if connection is not None:
            connection.cut("closed by the client")

    def _fail(self, why: str) -> None:
        self.close()
        raise BrokerUnavailable(why)

    def _arrive(self, parcel: Parcel, connection: Connection) -> None:
        """Take it at the broker, and confirm it."""
        if self._rabbit.alarm:
            self._rabbit.world.after(0.5, connection.to_broker, self._arrive, parcel, connection)
            return
        self._rabbit.parked[parcel.message.number] += 1  # type: ignore[attr-defined]
        self._rabbit.world.after(self._rabbit.delay(), self._confirm, parcel, connection)

    def _confirm(self, parcel: Parcel, connection: Connection) -> None:
        if connection.open and connection is self._connection and parcel in self._under_way:
            del self._under_way[parcel]
            self._confirmed.append(parcel)
            self._process.wake()
