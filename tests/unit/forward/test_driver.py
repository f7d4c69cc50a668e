"""A sink's way: what counts as standing still."""

from __future__ import annotations

import time

from structlog.testing import capture_logs

from celery_event_bridge.contract import Event, Outcome
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.outage import Outage
from celery_event_bridge.testing import MemorySink, sample_events


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


def test_what_another_stream_stores_ends_no_outage() -> None:
    """Events of a topic that refuses them come back each time, while others are stored: said once, until it stores."""
    sink = MemorySink(at_once=False)
    driver: Driver[int] = Driver(sink, Outage("sink", 0.001), lambda _: False)
    assert driver.ask()
    refused, *others = sample_events(6)
    for number, event in enumerate((refused, *others)):
        driver.owners[event] = number
    driver.pending.append(refused)
    with capture_logs() as said:
        for event in others:
            driver.pending.append(event)
            driver.hand_over(time.monotonic() + 60)
            sink.undecided.sort(key=lambda each: each is refused)
            sink.decide(Outcome.STORED, 1)
            driver.collect()
            sink.decide(Outcome.RETRY, reason="no permission to write")
            driver.collect()
            assert "no permission to write" == driver.outage.reason
        driver.hand_over(time.monotonic() + 60)
        sink.decide(Outcome.STORED)
        driver.collect()
        assert driver.outage.reason is None
    assert ["sink unavailable, trying again", "sink available again"] == [line["event"] for line in said]
    assert "no permission to write" == said[0]["reason"]


def test_in_order_what_comes_back_goes_ahead_in_its_first_order() -> None:
    """Whatever the order of the verdicts, and of two events of one message too; nothing new goes before or with it."""
    sink = MemorySink(at_once=False)
    driver: Driver[int] = Driver(sink, Outage("sink", 0.001), lambda _: False, ordered=True)
    assert driver.ask()
    events = sample_events(6)
    for event in events[:4]:
        driver.owners[event] = 7  # of one message
        driver.pending.append(event)
    driver.hand_over(time.monotonic() + 60)
    sink.undecided.reverse()
    sink.decide(Outcome.RETRY, 2, reason="one cause")
    driver.collect()
    for event in events[4:]:
        driver.owners[event] = 8
        driver.pending.append(event)
    driver.hand_over(time.monotonic() + 60)
    assert 2 == len(sink.undecided)  # verdicts on these are waited for
    sink.decide(Outcome.RETRY, reason="another cause")
    driver.collect()
    driver.hand_over(time.monotonic() + 60)
    assert list(events[:4]) == list(sink.undecided)
    driver.hand_over(time.monotonic() + 60)
    assert list(events) == list(sink.undecided)
