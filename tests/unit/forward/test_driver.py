"""A sink's way: what counts as standing still."""

from __future__ import annotations

import time

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.outage import Outage
from celery_event_bridge.testing import MemorySink


def test_a_sink_that_had_nothing_to_decide_was_not_stuck() -> None:
    """The first event after a quiet hour is not taken for one that has waited for an hour, also in an outage."""
    driver: Driver[int] = Driver(MemorySink(), Outage("sink", 10), lambda _: False)
    assert driver.ask()
    now = time.monotonic() + 3600
    driver.hand_over(now)
    driver.outage.failed("its file was moved")
    event = Event("0" * 32, "task-sent", "host", None, "host", 1, b"{}")
    driver.owners[event] = 1
    driver.pending.append(event)
    driver.hand_over(now)
    assert 0.0 == driver.stuck_for(now)
    assert 30.0 == driver.stuck_for(now + 30)
