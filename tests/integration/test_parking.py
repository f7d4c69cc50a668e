"""Parking, against a broker."""

from __future__ import annotations

import pytest

from bridge.contract import JSON, Rejection
from bridge.settings import Settings
from bridge.sources import BrokerUnavailable, Message, Parcel
from bridge.sources.parking import AmqpParking
from bridge.topology import Topology, declare_queue
from tests import oracle

QUEUE = "celeryev.bridge.rejected"


def test_what_the_broker_does_not_take_is_not_parked(broker_url: str) -> None:
    """Without its queue the default exchange would drop it: that is an error, until the queue is there."""
    settings = Settings(broker_url=broker_url)
    subject = AmqpParking(settings, QUEUE)
    message = Message("lane", 1, b"no event", JSON, {}, {}, "celeryev", "task.multi", False, False)
    parcel = Parcel(message, Rejection("undecodable", "it is no JSON"))
    with pytest.raises(BrokerUnavailable, match="the queue is not there"):
        subject.park([parcel, parcel])
    with oracle.broker(broker_url) as connection:
        declare_queue(connection.channel(), Topology.from_settings(settings).rejected)
    subject.park([parcel, parcel])
    subject.close()
    assert [b"no event"] * 2 == [bytes(parked.body) for parked in oracle.drain(broker_url, QUEUE)]
