"""Signs of life of `run` in its log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from celery_event_bridge.contract import notices
from celery_event_bridge.observe import pulse
from celery_event_bridge.observe.pulse import Pulse


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock, with no notice told before."""
    notices.NOTICES.clear()
    yield Clock()
    notices.NOTICES.clear()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, object]]]:
    """The lines that are logged."""
    with capture_logs() as found:
        # One that was used before has its processors, and logs where they lead.
        monkeypatch.setattr(pulse, "log", pulse.structlog.get_logger("celery_event_bridge"))
        yield found


def test_the_start_is_told_once(clock: Clock, lines: list[dict[str, object]]) -> None:
    """That it consumes, and the first events; after an outage it is not the first time."""
    subject = Pulse(clock)
    for stored in (0, 0, 7, 9):
        subject.consuming()
        subject.turn(stored, 0, {})
    assert ["consuming: broker and sink are there", "first events are stored"] == [line["event"] for line in lines]
    assert 7 == lines[1]["events"]


def test_a_line_a_minute_has_rates(clock: Clock, lines: list[dict[str, object]]) -> None:
    """Of what was stored since the last one; where that is nothing there is no line."""
    subject = Pulse(clock)
    subject.turn(10, 0, {})
    clock.now += 59.0
    subject.turn(600, 3, {})
    assert 1 == len(lines)
    clock.now += 1.0
    subject.turn(610, 3, {"q": 0, "q.overflow": 5})
    wanted = {"event": "events stored", "events": 600, "per_second": 10.0, "in_hand": 3, "waiting": {"q.overflow": 5}}
    assert wanted | {"log_level": "info"} == lines[-1]
    clock.now += 120.0
    subject.turn(610, 0, {})
    assert 2 == len(lines)
    clock.now += 60.0
    subject.turn(670, 0, {"q": 0})
    assert {"event": "events stored", "events": 60, "per_second": 1.0, "in_hand": 0, "log_level": "info"} == lines[-1]


def test_workers_without_events_of_tasks_are_told_of_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A minute after their first one; and that events of tasks come then, too."""
    caplog.set_level("INFO")
    subject = Pulse(clock)
    subject.received(["worker-heartbeat"])
    clock.now += 59.0
    subject.turn(1, 0, {})
    assert "" == caplog.text
    clock.now += 1.0
    for _ in range(3):
        subject.received(["worker-heartbeat"])
        subject.turn(1, 0, {})
    assert 1 == len(caplog.records)
    assert "with -E (worker_send_task_events)" in caplog.text
    assert 1 == notices.NOTICES.counts()["no-task-events"]
    subject.received(["worker-heartbeat", "task-received"])
    assert "events of tasks come" == caplog.records[-1].getMessage()


def test_events_of_tasks_are_no_matter(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a broker on which nothing is published, which has a line of its own."""
    for types in (["task-sent"], []):
        subject = Pulse(clock)
        subject.received(types)
        clock.now += 3600.0
        subject.received(["worker-heartbeat"] if types else [])
        subject.turn(1, 0, {})
    assert "" == caplog.text
