"""The warning before a queue is full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from celery_event_bridge.brokers.rabbitmq.nearly_full import BoundWatch
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract import notices

BOUND = {"overflow_max_bytes": 1_000_000, "rejected_max_bytes": 1_000_000}
QUEUES = ("q", "q.overflow", "q.rejected")


def watching(clock: Callable[[], float] = time.monotonic, **settings: object) -> BoundWatch:
    return BoundWatch(Topology.from_settings(Settings(queue="q", **BOUND, **settings)), clock)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    ("messages", "mean_body", "warned"),
    [(799, 1000.0, False), (800, 1000.0, True), (2500, 0.0, True), (1999, 0.0, False)],
)
def test_it_warns_from_80_percent_on(
    caplog: pytest.LogCaptureFixture, queue: str, messages: int, mean_body: float, warned: bool
) -> None:
    """By the number of messages and their mean size; by a typical one where none has been seen."""
    watching().look({queue: messages}, {queue: mean_body})
    assert warned == any(f"queue {queue!r} is nearly full: {messages} messages" in line for line in caplog.messages)
    assert int(warned) == notices.NOTICES.counts()["nearly-full"]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_a_live_queue_without_overflow_is_watched() -> None:
    """With BRIDGE_QUEUE_TTL=0 RabbitMQ refuses what comes past its bound."""
    watching(queue_ttl=0).look({"q": 2500}, {})
    assert 1 == notices.NOTICES.counts()["nearly-full"]


def test_once_a_minute(clock: list[float]) -> None:
    """However often it looks, for each queue."""
    watch = watching(lambda: clock[0])
    for _ in range(13):
        watch.look(dict.fromkeys(QUEUES, 2500), {})
        clock[0] += 10.0
    assert 9 == notices.NOTICES.counts()["nearly-full"]
