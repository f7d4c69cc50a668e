"""Stops of the relay: what is in hand is confirmed or given back, and nothing is acknowledged singly at the end."""

from __future__ import annotations

from typing import Any

import pytest

from celery_event_bridge.contract import Outcome
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support.relays import BAD, EVENTS, Clock, House, bodies


def test_a_stop_gives_back_what_was_set_aside_first(clock: Clock) -> None:
    """Else the last acknowledgement, which is cumulative, would name it too."""
    house = House(clock, max_inflight_bytes=64)
    house.parking.fail = True
    house.source.publish(BAD, EVENTS[0])
    house.turn(3)
    house.sink.at_once = True
    house.sink.decide(Outcome.STORED)
    house.relay.stop()
    assert 1 == house.relay.run(), "it is told how many go back"
    assert [EVENTS[0]] == bodies(house)
    assert [BAD] == [each.body for each in house.source.queue]


@pytest.mark.parametrize("keeps", [64, 10_000], ids=["set aside", "kept whole"])
def test_what_is_confirmed_during_a_stop_is_acknowledged(clock: Clock, keeps: int) -> None:
    """Though one that can be neither forwarded nor parked is before it in the lane: nothing is delivered twice."""
    house = House(clock, max_inflight_bytes=keeps)
    house.parking.fail = True
    house.source.publish(BAD, *EVENTS)
    house.turn(2)
    house.relay.stop()
    house.sink.at_once = True
    house.sink.decide(Outcome.STORED)
    assert 1 <= house.relay.run()
    stored = [event.data for event in house.sink.stored]
    assert stored
    assert [] == [each.body for each in house.source.queue if each.body in stored]
    assert BAD in [each.body for each in house.source.queue]


def test_what_goes_back_during_a_stop_is_counted_though_the_broker_is_lost(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of the log does not say that all was confirmed."""
    house = House(clock)
    house.parking.fail = True
    house.source.publish(BAD, *EVENTS)
    house.turn(2)

    def close() -> None:
        raise BrokerUnavailable("the connection is lost")

    monkeypatch.setattr(house.source, "close", close)
    house.relay.stop()
    house.sink.at_once = True
    house.sink.decide(Outcome.STORED)
    assert 1 == house.relay.run()


def test_what_is_set_aside_during_a_stop_holds_up_no_acknowledgement(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in its lane it is: what the sink has confirmed meanwhile is not delivered twice."""
    house = House(clock, max_inflight_bytes=8000)
    house.parking.fail = True
    house.source.publish(*EVENTS)
    house.turn(2)
    confirmed = [event.data for event in house.sink.undecided]
    assert EVENTS == confirmed
    taken = iter([Outcome.REFUSED, *[Outcome.STORED] * len(EVENTS)])

    def poll(_: float) -> list[Any]:
        house.sink.decide(next(taken, Outcome.STORED), 1)
        return []

    monkeypatch.setattr(house.source, "poll", poll)
    house.relay.stop()
    house.relay.run()
    stored = [event.data for event in house.sink.stored]
    assert [] == [each.body for each in house.source.queue if each.body in stored]
    assert EVENTS[0] in [each.body for each in house.source.queue]


def test_a_stop_confirms_what_is_in_hand(house: House) -> None:
    """Stopping cancels the consumer, confirms what is in hand, acknowledges, and closes in order."""
    house.sink.at_once = True
    house.source.publish(*EVENTS)
    house.turn()
    house.relay.stop()
    assert 0 == house.relay.run()
    assert EVENTS == bodies(house)
    assert ["open", "consume", "cancel", "close", "drop"] == house.source.calls


def test_at_the_end_nothing_is_acknowledged_singly(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ loses single acknowledgements that come just before a close: so what is held up by one that owes is
    acknowledged cumulatively, after that one was given back.
    """
    house.source.publish(*EVENTS)
    house.turn(2)

    def poll(_: float) -> list[Any]:
        clock.now += 1
        if house.sink.undecided:
            house.sink.undecided.pop(1)  # on this one the sink never says anything
            house.sink.decide(Outcome.STORED)
        return []

    monkeypatch.setattr(house.source, "poll", poll)
    house.relay.stop()
    assert 1 == house.relay.run()
    assert {True} == {ack.multiple for ack in house.source.acks}
    assert [EVENTS[1]] == [each.body for each in house.source.queue]


def test_in_an_order_a_stop_gives_back_by_closing_alone(clock: Clock) -> None:
    """What is given back singly comes again on the same channel, and with its close goes back behind those after it."""
    house = House(clock, ordered=True)
    house.source.publish(EVENTS[0], BAD, EVENTS[1])
    house.turn(3)
    house.sink.decide(Outcome.RETRY)
    house.turn()
    house.relay.stop()
    assert 3 == house.relay.run()
    assert [EVENTS[0], BAD, EVENTS[1]] == [message.body for message in house.source.queue]


def test_a_stop_with_the_sink_away_gives_back_at_once(house: House, clock: Clock) -> None:
    """With the sink known to be down a stop does not wait for it; it says how many messages go back."""
    house.source.publish(*EVENTS)
    house.turn(2)
    house.sink.decide(Outcome.RETRY)
    house.turn()
    before = clock.now
    house.relay.stop()
    assert len(EVENTS) == house.relay.run()
    assert clock.now - before < 1
    assert EVENTS == [message.body for message in house.source.queue]


def test_a_stop_does_not_wait_for_verdicts_on_what_went_back(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing in hand it ends at once, though the sink has never said what became of what was let go."""
    house.source.publish(EVENTS[0])
    house.turn(2)
    house.turn(4, seconds=11)
    house.source.queue.clear()
    house.turn(2)
    assert house.sink.undecided
    polls: list[float] = []

    def poll(timeout: float) -> list[Any]:
        polls.append(timeout)
        clock.now += 1
        return []

    monkeypatch.setattr(house.source, "poll", poll)
    house.relay.stop()
    assert 0 == house.relay.run()
    assert not polls


def test_a_stop_does_not_close_right_after_single_acknowledgements(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ may still hold them back then, and would deliver those messages again."""
    house.source.publish(*EVENTS)
    house.turn(2)
    head = house.sink.undecided.pop(0)
    house.sink.decide(Outcome.STORED)
    house.turn()
    clock.now += 2
    house.turn()
    assert {False} == {ack.multiple for ack in house.source.acks}
    acknowledged = clock.now
    house.sink.undecided = [head]
    house.sink.decide(Outcome.RETRY)

    def poll(_: float) -> list[Any]:
        clock.now += 0.01
        return []

    monkeypatch.setattr(house.source, "poll", poll)
    house.relay.stop()
    assert 1 == house.relay.run()
    assert 0.25 <= clock.now - acknowledged < 5
