"""A connection to park on: nothing goes over it before the broker has shown that it reads."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celery_event_bridge.brokers.rabbitmq import parking
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.parking import AmqpParking
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.contract import Rejection
from celery_event_bridge.contract.broker import Parcel


class Line:
    """A connection with one channel, whose broker confirms when it is told to."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.transport = SimpleNamespace(sock=self.ours)
        self.frame_max = 131072
        self.events: dict[str, set[Any]] = defaultdict(set)
        self.keys: list[str] = []
        self.connection = self

    def channel(self) -> Line:
        return self

    def confirm_select(self) -> None:
        """Do nothing."""

    def basic_publish(self, *_: Any, routing_key: str, **__: Any) -> None:
        self.keys.append(routing_key)

    def drain_events(self, timeout: float) -> None:
        for callback in self.events["basic_ack"]:
            callback(self.ours.recv(1)[0], multiple=True)

    def confirm(self, tag: int) -> None:
        """Let a confirm arrive."""
        self.theirs.sendall(bytes([tag]))

    def close(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()

    collect = close


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    made = Line()
    monkeypatch.setattr(parking, "connect", lambda *_, **__: made)
    yield made
    made.close()


def test_nothing_is_published_before_the_probe_is_answered(line: Line) -> None:
    """Under an alarm the broker reads no further, and each connection that is given up would leave a copy behind."""
    message = Delivered("lane", 1, b"no event", "text/plain", {})
    parcel = Parcel(message, Rejection("undecodable", "no event"))
    park = AmqpParking(Settings(broker_url="amqp://127.0.0.1:1//"), "q.rejected")
    for _ in range(3):
        assert [] == list(park.park([parcel]))
    assert ["q.rejected.probe"] == line.keys
    line.confirm(1)
    assert [] == list(park.park([parcel]))
    assert ["q.rejected.probe", "q.rejected"] == line.keys
    line.confirm(2)
    assert [parcel] == list(park.park([parcel]))
