"""Lingering: few events are waited for, one on its own and many are not."""

from __future__ import annotations

import pytest

from celery_event_bridge.contract import Outcome
from celery_event_bridge.forward.linger import MANY, URGENT, Linger
from celery_event_bridge.testing import FakeSource
from tests.support.relays import EVENTS, Clock, House, bodies


class Lossy(FakeSource):
    """A source that holds nothing for us."""

    reconnects_within = 0.5


@pytest.mark.parametrize(("received", "waited"), [(0, 0.0), (1, 0.3), (MANY - 1, 0.3), (MANY, 0.0)])
def test_it_waits_behind_a_turn_with_few_messages(received: int, waited: float) -> None:
    """Without any there is nothing to wait behind, and with many the others are there."""
    clock = Clock()
    began = clock.now
    Linger(0.3, FakeSource(), clock).wait(received)
    assert waited == pytest.approx(clock.now - began)


def test_it_waits_for_less_where_what_is_not_heard_is_gone() -> None:
    """The lease has to be renewed in time."""
    clock = Clock()
    began = clock.now
    Linger(1.0, Lossy(), clock).wait(1)
    assert URGENT == pytest.approx(clock.now - began)


def test_an_event_on_its_own_is_handed_over_and_acknowledged_at_once() -> None:
    """The next ones come in one go."""
    clock = Clock()
    house = House(clock, linger=0.5)
    house.turn(2)
    began = clock.now
    house.source.publish(EVENTS[0])
    house.turn()
    assert EVENTS[:1] == [event.data for event in house.sink.undecided]
    assert 0.5 == pytest.approx(clock.now - began)
    house.source.publish(*EVENTS[1:])
    house.sink.decide(Outcome.STORED)
    house.turn()
    assert EVENTS[:1] == bodies(house)
    assert EVENTS[1:] == [event.data for event in house.sink.undecided]


def test_nothing_is_waited_for_once_the_broker_is_lost() -> None:
    """What the last turn before it had received says nothing of those that look for it."""
    clock = Clock()
    house = House(clock, linger=0.5, retry_max_interval=0.01)
    house.turn(2)
    house.source.publish(EVENTS[0])
    house.turn()
    house.source.fail = "connection reset"
    began = clock.now
    house.turn(3)
    assert clock.now - began < 0.5
