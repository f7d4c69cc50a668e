"""The warning before the overflow queue is full."""

from __future__ import annotations

import pytest
import structlog

from celery_event_bridge.brokers.rabbitmq import overflow
from celery_event_bridge.brokers.rabbitmq.overflow import OverflowWatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(overflow.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("messages", "mean_body", "warned"),
    [(799, 1000.0, False), (800, 1000.0, True), (2500, 0.0, True), (1999, 0.0, False)],
)
def test_it_warns_from_80_percent_on(messages: int, mean_body: float, warned: bool) -> None:
    """By the number of messages and their mean size; by a typical one where none has been seen."""
    with structlog.testing.capture_logs() as lines:
        OverflowWatch("q", 1_000_000).look(messages, mean_body)
    assert warned == bool(lines)
    if lines:
        assert ("q", messages, "warning") == (lines[0]["queue"], lines[0]["messages"], lines[0]["log_level"])
        assert lines[0]["percent"] >= 80


def test_once_a_minute(clock: list[float]) -> None:
    """However often it looks."""
    watch = OverflowWatch("q", 1000)
    with structlog.testing.capture_logs() as lines:
        for _ in range(13):
            watch.look(1000, 10.0)
            clock[0] += 10.0
    assert 3 == len(lines)
