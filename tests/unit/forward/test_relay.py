"""The relay, turn by turn, between a broker and a sink in memory: verdicts, outages, and what goes back."""

from __future__ import annotations

import pytest
import structlog

from celery_event_bridge.contract import Outcome, SinkUnavailable
from celery_event_bridge.contract.broker import RefusedForGood
from tests.support.relays import EVENTS, LIST, Clock, House, bodies


def test_nothing_is_acknowledged_before_the_sink_has_confirmed(house: House) -> None:
    """A message stays with the broker until every event in it is stored."""
    house.source.publish(LIST)
    house.turn(3)
    assert EVENTS == [event.data for event in house.sink.undecided]
    house.sink.decide(Outcome.STORED, 4)
    house.turn()
    assert [] == bodies(house)
    house.sink.decide(Outcome.STORED)
    house.turn()
    assert [LIST] == bodies(house)


def test_what_was_stored_stays_settled_and_the_rest_is_sent_again_in_order(house: House) -> None:
    """After a failure in the middle of a batch only what was not stored is handed over again, before newer events."""
    house.source.publish(*EVENTS[:3])
    house.turn(2)
    house.sink.decide(Outcome.STORED, 1)
    house.sink.decide(Outcome.RETRY)
    house.source.publish(*EVENTS[3:])
    house.turn(2, seconds=11)
    assert EVENTS[1:] == [event.data for event in house.sink.sends[-1]]
    house.sink.decide(Outcome.STORED)
    house.turn()
    assert EVENTS == bodies(house)


def test_a_failed_sink_is_left_alone_for_a_while(clock: Clock) -> None:
    """Between two attempts there is a pause that grows; new events wait behind the old."""
    house = House(clock, let_go_after=1000.0)
    house.source.publish(EVENTS[0])
    house.turn(2)
    for _ in range(3):
        sends = len(house.sink.sends)
        house.sink.decide(Outcome.RETRY)
        house.turn()
        house.source.publish(EVENTS[1])
        house.turn()
        assert sends == len(house.sink.sends)
        clock.now += 11
        house.turn()
        assert sends + 1 == len(house.sink.sends)


def test_a_lost_connection_forgets_what_was_in_hand(house: House, clock: Clock) -> None:
    """After a reconnect a late confirm acknowledges nothing; the broker delivers again."""
    house.source.publish(EVENTS[0])
    house.turn(2)
    house.source.fail = "connection reset"
    house.turn()
    assert "connection reset" == house.status.broker_reason
    assert 0 == house.status.inflight_messages
    clock.now += 11
    house.turn()
    house.sink.decide(Outcome.STORED, 1)
    house.turn()
    assert [] == bodies(house)
    house.sink.decide(Outcome.STORED)
    house.turn()
    assert [EVENTS[0]] == bodies(house)
    assert 2 == len(house.sink.stored)


def test_a_setting_that_is_refused_for_good_ends_it_at_the_start(
    house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever started it sees that; once it has consumed it is an outage as any other, and it goes on."""

    def refuse() -> None:
        raise RefusedForGood("queue 'q' exists with other arguments", 406)

    with monkeypatch.context() as patched:
        patched.setattr(house.source, "open", refuse)
        with pytest.raises(RefusedForGood, match="queue 'q' exists"):
            house.turn()
    house.turn()
    assert "consume" in house.source.calls
    house.source.fail = "lost"
    house.turn()
    house.source.fail = None
    with monkeypatch.context() as patched:
        patched.setattr(house.source, "open", refuse)
        house.turn(3, seconds=11)
        assert "queue 'q' exists with other arguments" == house.status.broker_reason
    house.source.publish(EVENTS[0])
    house.turn(3)
    house.sink.decide(Outcome.STORED)
    house.turn()
    assert [EVENTS[0]] == bodies(house)


def test_a_retry_of_what_the_broker_has_back_is_dropped(house: House, clock: Clock) -> None:
    """Events of a lost connection are not sent again from memory: they come again from the queue."""
    house.source.publish(EVENTS[0])
    house.turn(2)
    house.source.fail = "connection reset"
    house.turn()
    house.sink.decide(Outcome.RETRY)
    for _ in range(4):
        clock.now += 11
        house.turn()
    assert [1, 1] == [len(events) for events in house.sink.sends]


def test_a_long_outage_is_let_go(house: House, clock: Clock) -> None:
    """After BRIDGE_LET_GO_AFTER everything goes back; nothing is taken until the sink answers, then all is stored."""
    house.source.publish(*EVENTS)
    house.turn(2)
    house.sink.away = "connection refused"
    for _ in range(4):
        house.sink.decide(Outcome.RETRY)
        house.turn(seconds=11)
    assert "let_go" in house.source.calls
    assert EVENTS == [message.body for message in house.source.queue]
    assert 0 == house.status.inflight_messages
    consumed = house.source.calls.count("consume")
    house.turn(5, seconds=11)
    assert consumed == house.source.calls.count("consume")
    house.sink.away = None
    house.sink.at_once = True
    house.turn(3, seconds=11)
    assert EVENTS == bodies(house)


def test_a_sink_that_says_nothing_is_let_go_too(house: House) -> None:
    """No confirm for BRIDGE_LET_GO_AFTER counts as an outage, whatever the client library hides."""
    house.source.publish(EVENTS[0])
    house.turn(2)
    house.turn(4, seconds=11)
    assert "let_go" in house.source.calls


def test_a_sink_that_owes_nothing_in_hand_is_not_away(house: House) -> None:
    """What was let go is the broker's: that the sink never says anything of it lets nothing go a second time."""
    house.source.publish(EVENTS[0])
    house.turn(2)
    house.turn(4, seconds=11)
    assert 1 == house.source.calls.count("let_go")
    house.source.queue.clear()
    house.turn(10, seconds=11)
    assert 1 == house.source.calls.count("let_go")
    house.source.publish(EVENTS[1])
    house.turn(2, seconds=1)
    house.sink.undecided.reverse()
    house.sink.decide(Outcome.STORED, 1)
    house.turn()
    assert 1 == house.source.calls.count("let_go")
    assert [EVENTS[1]] == bodies(house)


def test_nothing_is_let_go_while_the_sink_makes_progress(house: House) -> None:
    """Slow is not away: one confirm now and then keeps what is in hand in hand."""
    house.source.publish(*EVENTS)
    house.turn(2)
    for _ in EVENTS[:-1]:
        house.turn(seconds=20)
        house.sink.decide(Outcome.STORED, 1)
        house.turn()
    assert "let_go" not in house.source.calls


def test_nothing_is_taken_before_the_sink_is_there(house: House, clock: Clock) -> None:
    """A sink that is away at the start: the queues are declared, nothing is consumed until it comes."""
    house.sink.away = "connection refused"
    house.source.publish(EVENTS[0])
    house.turn(3, seconds=11)
    assert {"open"} == set(house.source.calls)
    house.sink.away, house.sink.at_once = None, True
    house.turn(3, seconds=11)
    assert [EVENTS[0]] == bodies(house)


def test_the_sink_looks_again_every_ten_seconds(house: House, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a look finds wrong is an outage of the sink, until a later look is content."""
    looks: list[float] = []
    wrong: list[str] = []

    def look() -> None:
        looks.append(clock.now)
        if wrong:
            raise SinkUnavailable(wrong[0])

    monkeypatch.setattr(house.sink, "look", look, raising=False)
    house.turn(31, seconds=1.0)
    assert [1001.0, 1011.0, 1021.0] == looks
    wrong.append("it is another file")
    with structlog.testing.capture_logs() as logged:
        house.turn(20, seconds=1.0)
        assert ["sink unavailable, trying again"] == [line["event"] for line in logged]
        wrong.clear()
        house.turn(10, seconds=1.0)
    assert ["sink unavailable, trying again", "sink available again"] == [line["event"] for line in logged]


def test_a_bridge_is_not_ready_while_its_sink_is_only_asked(house: House) -> None:
    """The broker is connected, the sink has answered nothing yet: nothing is consumed, and so it is said."""
    heard: list[str | None] = []
    ask = house.sink.available

    def slowly() -> None:
        heard.append(house.status.held_up)
        ask()

    house.sink.available = slowly  # type: ignore[method-assign]
    house.turn()
    assert {"not consuming yet: the sink is being asked"} == set(heard)
    assert house.status.held_up is None


def test_who_forwards_is_in_the_status(clock: Clock) -> None:
    """Whoever consumes does, but for one that stands by for another bridge."""
    house = House(clock)
    house.turn()
    assert (True, False) == (house.status.forwarding, house.status.stands_by)
    house.source.fail = "connection reset"
    house.turn()
    assert (False, False) == (house.status.forwarding, house.status.stands_by)
    house = House(clock, forwards=False)
    house.turn()
    assert (False, True) == (house.status.forwarding, house.status.stands_by)
