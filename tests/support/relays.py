"""A relay between a broker, a sink and a parking queue in memory, under a clock that moves when told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery_event_bridge.forward.relay import Relay
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import FakeSource, MemorySink
from tests.support.fakes import FakeParking

EVENTS = [b'{"type":"task-started","uuid":"%d"}' % number for number in range(5)]
LIST = b"[" + b",".join(EVENTS) + b"]"


class Clock:
    """Time that moves when told, for the relay and its outages."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class House:
    """A relay and its three ends."""

    def __init__(
        self,
        clock: Clock,
        *,
        leaves_after: float | None = 5.0,
        ordered: bool = False,
        forwards: bool | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock
        self.source, self.sink, self.parking = FakeSource(), MemorySink(at_once=False), FakeParking()
        self.source.leaves_after, self.source.ordered = leaves_after, ordered
        if forwards is not None:
            self.source.forwards = forwards  # type: ignore[attr-defined]
        self.status = Status()
        values = {
            "broker_name": None,
            "event_types": ("*",),
            "max_message_bytes": 1000,
            "max_inflight_bytes": 100_000,
            "retry_max_interval": 10.0,
            "linger": 0.0,
            "let_go_after": 30.0,
            "shutdown_timeout": 25.0,
        }
        options: Any = SimpleNamespace(**(values | settings))
        self.metrics = Metrics(self.status)
        self.relay = Relay(self.source, self.sink, self.parking, options, self.metrics, self.status, clock)

    def turn(self, times: int = 1, *, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.relay.turn()
            self.clock.now += seconds


def bodies(house: House) -> list[bytes]:
    return [message.body for message in house.source.acknowledged]


BAD = b"no event"
