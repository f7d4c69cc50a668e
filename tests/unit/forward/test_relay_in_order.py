"""The relay with a source whose order is to last as far as the stream."""

from __future__ import annotations

from celery_event_bridge.contract import Outcome
from tests.support.relays import EVENTS, Clock, House


def test_what_comes_back_goes_again_alone_and_in_its_first_order() -> None:
    """Whatever order the sink gives it back in; what came meanwhile waits until it is with the sink."""
    house = House(Clock(), ordered=True)
    house.source.publish(*EVENTS[:3])
    house.turn(2)
    house.sink.undecided.reverse()
    house.sink.decide(Outcome.RETRY)
    house.source.publish(*EVENTS[3:])
    house.turn(2)
    assert [] == house.sink.undecided
    house.clock.now += 20.0
    house.turn()
    assert EVENTS[:3] == [event.data for event in house.sink.undecided]
    house.turn()
    assert EVENTS == [event.data for event in house.sink.undecided]
