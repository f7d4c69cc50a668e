"""What the relay can neither forward nor decode: parked, set aside, or out of the way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from celery_event_bridge.contract import Outcome
from celery_event_bridge.contract.broker import Parcel
from tests.support.relays import BAD, EVENTS, LIST, Clock, House, bodies


def test_a_refused_event_parks_its_message_after_the_others_are_stored(house: House) -> None:
    """One event the sink will never store: the rest is stored, the whole message is parked, then acknowledged."""
    house.source.publish(LIST, EVENTS[0])
    house.turn(2)
    house.sink.decide(Outcome.REFUSED, 1, reason="too long")
    house.turn()
    assert [] == house.parking.parked
    house.sink.decide(Outcome.STORED)
    house.turn()
    (parcel,) = house.parking.parked
    assert (LIST, "refused", "too long") == (parcel.message.body, parcel.why.reason, parcel.why.error)
    assert [LIST, EVENTS[0]] == bodies(house)


def test_what_cannot_be_decoded_is_parked(house: House) -> None:
    """Poison is parked with its reason; good events beside it in a list are forwarded first."""
    house.source.publish(b"not json", b'[{"type":"a"}, 1]')
    house.turn(2)
    house.sink.decide(Outcome.STORED)
    house.turn(2)
    assert ["undecodable", "not-an-event"] == [parcel.why.reason for parcel in house.parking.parked]
    assert [b'{"type":"a"}'] == [event.data for event in house.sink.stored]
    assert [b"not json", b'[{"type":"a"}, 1]'] == bodies(house)


def test_a_worker_is_named_that_has_sent_what_is_parked(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """By an event beside the bad one where no header does, as `rejected list` names it."""
    house.source.publish(b'[{"type":"a","hostname":"w9@host"}, 1]')
    house.turn(2)
    house.sink.decide(Outcome.STORED)
    house.turn(2)
    assert "a message is parked: not-an-event, from w9@host;" in caplog.text


def test_a_message_that_cannot_be_parked_yet_stays_unacknowledged(house: House, clock: Clock) -> None:
    """While the parking queue refuses, the message waits; those behind it are acknowledged singly."""
    house.parking.fail = True
    house.source.publish(b"not json", EVENTS[0])
    house.turn(2)
    house.sink.decide(Outcome.STORED)
    for _ in range(5):
        house.turn(seconds=1)
    assert [EVENTS[0]] == bodies(house)
    house.parking.fail = False
    house.turn(5, seconds=11)
    assert [EVENTS[0], b"not json"] == bodies(house)


def test_any_number_that_cannot_be_parked_holds_up_nobody(clock: Clock) -> None:
    """Their bodies are dropped from memory, others are received in their place, and all are parked at last."""
    house = House(clock, max_inflight_bytes=20_000, leaves_after=None)
    house.sink.at_once = True
    house.parking.fail = True
    for number in range(300):
        house.source.publish(b"%s %d" % (BAD, number), EVENTS[0])
        house.turn(1, seconds=0.1)
    assert 300 == len(house.sink.stored)
    assert 300 == house.status.unparkable_messages == house.status.inflight_messages
    assert house.source.held_bytes > 0, "a channel with nothing in hand may be replaced, and their tags with it"
    assert house.status.inflight_bytes < 20_000
    assert house.source.roomier > 250
    house.parking.fail = False
    house.turn(30, seconds=1.0)
    assert {b"%s %d" % (BAD, number) for number in range(300)} == {each.message.body for each in house.parking.parked}
    assert 300 == len(house.parking.parked)
    assert (0, {}) == (house.status.unparkable_messages, house.source.unacknowledged)


def test_a_large_message_is_not_set_aside_while_its_attempt_is_under_way(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new connection is asked first whether it takes anything, and until it answers nothing is published."""
    house = House(clock, max_inflight_bytes=20_000, leaves_after=None)
    house.parking.fail = True
    house.source.publish(BAD * 1000)
    house.turn(2, seconds=0.01)
    assert 1 == house.status.unparkable_messages
    house.parking.fail = False
    park, asked = house.parking.park, []

    def ask_first(parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        if asked:
            return park(parcels)
        asked.append(True)
        return ()

    monkeypatch.setattr(house.parking, "park", ask_first)
    house.turn(20, seconds=5.0)  # it comes again after a minute
    assert 1 == len(house.parking.parked)


def test_what_cannot_be_parked_leaves_the_live_queue(clock: Clock) -> None:
    """Once it has outlived the TTL it is given back, and so goes on to overflow: held it would pin the queue's log."""
    house = House(clock, leaves_after=5.0)
    house.parking.fail = True
    house.source.publish(BAD)
    house.turn(5, seconds=1.0)
    assert [] == house.source.queue
    while not house.source.queue and clock.now < 1010:
        house.turn(1, seconds=1.0)
        taken = [each.body for each in house.source.queue]
        house.source.queue.clear()
        if taken:
            assert clock.now > 1006
            assert [BAD] == taken
            return
    pytest.fail("it was never given back")


def test_a_message_that_is_refused_for_good_does_not_hold_up_the_others(clock: Clock) -> None:
    """One that the broker never takes, as for its size, is found out alone and set aside; the rest is parked."""
    house = House(clock)
    house.parking.refuses = lambda parcel: parcel.message.body == BAD * 10
    house.source.publish(BAD, BAD * 10, BAD, BAD)
    house.turn(20, seconds=1.0)
    assert [BAD] * 3 == [each.message.body for each in house.parking.parked]
    assert [BAD] * 3 == bodies(house)
    assert 1 == house.status.unparkable_messages
    assert 0 == house.status.inflight_bytes


def test_under_an_alarm_nothing_is_published_twice(clock: Clock) -> None:
    """While the broker blocks publishers, what is on its way is waited for, for ever."""
    house = House(clock)
    house.parking.blocked = True
    house.source.publish(BAD, b"another")
    house.turn(4, seconds=1.0)
    house.parking.blocked = False
    house.turn(20, seconds=1.0)
    assert [BAD, b"another"] == [each.message.body for each in house.parking.parked]
