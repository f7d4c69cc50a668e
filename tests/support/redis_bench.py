"""A source for Redis as the broker, on connections whose answers a test writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from celery_event_bridge.brokers.redis.link import Link
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.brokers.redis.source import RedisSource
from celery_event_bridge.contract.broker import Ack
from tests.support.redis_links import SetClock, WrittenLink

SETTINGS = Settings(broker_url="redis://h")


class Bench:
    """A source, and the connection that it has last made."""

    def __init__(self, run: str = "r", settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.clock, self.run = SetClock(), run
        self.record: Sequence[object] | None = None
        self.early: list[bytes] = []
        """Events that arrive while the next one subscribes."""
        self.links: list[WrittenLink] = []
        self.source = RedisSource(settings, lambda: "here", self._connect, self.clock, "a")
        self.source.open()
        self.source.consume()

    def _connect(self) -> Link:
        self.links.append(WrittenLink(self.clock, SETTINGS.names, self.run))
        self.link.record = self.record or self.link.record
        self.link.early = self.early
        return cast("Link", self.links[-1])

    @property
    def link(self) -> WrittenLink:
        return self.links[-1]

    def take(self) -> None:
        """Let it have the lease, and forward."""
        for _ in range(10):  # nobody has held it: it waits a while
            self.turn(0.5)
        assert self.link.holder == "a"

    def store(self, seconds: float = 0.0) -> None:
        """Let time pass, and confirm what is handed out."""
        self.clock.now += seconds
        for message in self.source.poll(0.0):
            self.source.acknowledge([Ack(message.lane, message.tag, multiple=False)])

    def turn(self, seconds: float = 0.0) -> list[bytes]:
        """Let time pass, and return what is handed out."""
        self.clock.now += seconds
        return [message.body for message in self.source.poll(0.0)]
