"""Model of the list of what is parked, by the contract's protocol `Parking`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from celery_event_bridge.contract.broker import BrokerUnavailable, Parcel
from tests.simulation.process import Process
from tests.simulation.pubsub.servers import Servers
from tests.simulation.pubsub.watched import WatchedSource


class ListParking:
    """See `celery_event_bridge.contract.broker.Parking`: a call is a step of the server, and waits for it."""

    under_way: Collection[Parcel] = ()
    obstacle = None

    def __init__(self, process: Process, servers: Servers, source: WatchedSource, parked: Counter[int]) -> None:
        self._process = process
        self._servers = servers
        self._source = source
        self._parked = parked
        self.refuse = 0
        """Calls that are refused."""

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        if not parcels:
            return ()
        self._process.wait(self._servers.delay())
        if self.refuse:
            self.refuse -= 1
            raise BrokerUnavailable("no right to write")
        if not self._servers.master.up:
            raise BrokerUnavailable("connection refused")
        self._parked.update(self._source.window.heard[parcel.message.tag] for parcel in parcels)
        self._process.wait(self._servers.delay())
        return parcels

    def close(self) -> None:
        """Do nothing."""
