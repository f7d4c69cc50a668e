"""Filters by a slip in BRIDGE_EVENT_TYPES: they are told of for as long as they drop all that comes."""

from __future__ import annotations

import logging

import pytest

from celery_event_bridge.contract import notices
from celery_event_bridge.forward.leftout import LeftOut, doubts, passes_nothing


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "all-filtered"]


class Clock:
    """Time that moves when told."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(notices.NOTICES, "clock", clock.monotonic)
    return clock


def test_a_filter_that_drops_everything_says_so_once_a_minute(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """With the number that was dropped, the patterns, and what was meant; each event is counted."""
    left_out = LeftOut(("task_failed", "worker_*"))
    left_out.count(5, 0)
    left_out.count(300, 0)
    (line,) = told(caplog)
    assert line.startswith("all 5 events since the start were acknowledged and dropped, and none was forwarded: ")
    assert "BRIDGE_EVENT_TYPES=task_failed,worker_* " in line
    assert "did you mean task-failed,worker-*?" in line
    clock.now += 61
    left_out.count(0, 0)
    assert 1 == len(told(caplog))
    left_out.count(7, 0)
    assert told(caplog)[1].startswith("all 312 events")
    assert 312 == notices.NOTICES.counts()["all-filtered"]


def test_a_custom_event_that_is_let_through_ends_it(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """The filter is meant for those: nothing more is said, whatever is left out from then on."""
    caplog.set_level(logging.INFO)
    left_out = LeftOut(("order-placed",))
    left_out.count(5, 0)
    left_out.count(5, 1)
    clock.now += 61
    left_out.count(5, 0)
    assert 1 == len([line for line in told(caplog) if "dropped" in line])
    assert "BRIDGE_EVENT_TYPES lets events through" in told(caplog)


@pytest.mark.parametrize(
    "patterns",
    [("task-failed",), ("*",), ("!worker-*",), ("+order-placed",), ("task_failed", "task-sent"), ("task-*",)],
)
def test_a_filter_that_lets_something_through_is_not_told_of(
    caplog: pytest.LogCaptureFixture, patterns: tuple[str, ...]
) -> None:
    """A type that is rare, or a custom one that is marked as such, may not come for a day."""
    left_out = LeftOut(patterns)
    left_out.count(300, 0)
    assert [] == told(caplog)


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (("task_failed",), 2),
        (("task-failed", "!task-*"), 1),
        (("!task-*", "!worker-*"), 1),
        (("task_failed", "task-sent"), 1),
        (("Task.Failed", "+mine"), 1),
    ],
)
def test_a_filter_is_judged_as_a_whole(patterns: tuple[str, ...], count: int) -> None:
    """What one pattern lets in another one may leave out; the pattern that looks like a slip is named by itself."""
    assert count == len(doubts(patterns)), doubts(patterns)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("task_failed", "task-failed"),
        ("Task.*", "task-*"),
        ("failed", "task-failed"),
        ("worker-hartbeat", "worker-heartbeat"),
    ],
)
def test_a_slip_gets_a_suggestion(pattern: str, meant: str) -> None:
    """By a Celery type, or by the same pattern as its types are written."""
    assert f"did you mean {meant}?" in doubts([pattern])[0]
    assert f"did you mean {meant}?" in passes_nothing([pattern])
    assert "did you mean" not in passes_nothing(["qqqqqqqq"])
