"""The relay, turn by turn, between a broker and a sink in memory."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from celery_event_bridge.contract import Outcome, SinkUnavailable, notices
from celery_event_bridge.contract.broker import BrokerUnavailable, GivenBack, RefusedForGood
from celery_event_bridge.forward.intake import event_filter
from celery_event_bridge.forward.relay import Relay
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import FakeSource, MemorySink
from tests.support.fakes import FakeParking

EVENTS = [b'{"type":"task-started","uuid":"%d"}' % number for number in range(5)]
LIST = b"[" + b",".join(EVENTS) + b"]"


FORGED = b"\x5d" + (2**32 - 1).to_bytes(4, "little") + (10).to_bytes(8, "little") + bytes(20)
"""LZMA that says of itself that it needs four gigabytes of memory."""


class Clock:
    """Time that moves when told, for the relay and its outages."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class House:
    """A relay and its three ends."""

    def __init__(self, clock: Clock, *, leaves_after: float | None = 5.0, **settings: Any) -> None:
        self.clock = clock
        self.source, self.sink, self.parking = FakeSource(), MemorySink(at_once=False), FakeParking()
        self.source.leaves_after = leaves_after
        self.status = Status()
        values = {
            "event_types": ("*",),
            "max_message_bytes": 1000,
            "max_inflight_bytes": 100_000,
            "retry_max_interval": 10.0,
            "let_go_after": 30.0,
            "shutdown_timeout": 25.0,
        }
        options: Any = SimpleNamespace(**(values | settings))
        self.metrics = Metrics(self.status)
        self.relay = Relay(self.source, self.sink, self.parking, options, self.metrics, self.status, clock)

    def turn(self, times: int = 1, *, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.relay.turn()
            self.clock.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(clock: Clock) -> House:
    return House(clock)


def bodies(house: House) -> list[bytes]:
    return [message.body for message in house.source.acknowledged]


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


BAD = b"no event"


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


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"x" * 1001, {}, "too-large"),
        (b"not gzip", {"compression": "application/x-gzip"}, "compression"),
        (EVENTS[0], {"compression": "application/x-brotli"}, "compression"),
        (EVENTS[0], {"compression": ["strange"]}, "compression"),
        (FORGED, {"compression": "application/x-lzma"}, "compression"),
    ],
)
def test_size_and_compression_are_checked(house: House, body: bytes, headers: dict[str, object], reason: str) -> None:
    """A message that is too large, or not compressed as it says, is parked with its original body."""
    house.source.publish(body, headers=headers)
    house.turn(2)
    (parcel,) = house.parking.parked
    assert (body, reason) == (parcel.message.body, parcel.why.reason)


def test_no_more_is_decompressed_than_may_be_in_hand(clock: Clock) -> None:
    """Messages that arrive together and are small only on the way: one after the other, in order, none forgotten."""
    house = House(clock, max_inflight_bytes=64 * 1024, max_message_bytes=200_000)
    published = [b'{"type":"task-started","uuid":"%d","filler":"%s"}' % (number, b"x" * 100_000) for number in range(5)]
    for body in published:
        house.source.publish(zlib.compress(body), headers={"compression": "application/x-gzip"})
    held = []
    for _ in range(20):
        house.turn()
        held.append(house.status.inflight_messages)
        house.sink.decide(Outcome.STORED)
    assert 1 == max(held)
    assert published == [event.data for event in house.sink.stored]
    assert not house.source.unacknowledged


def test_what_has_arrived_and_was_not_looked_at_goes_back_with_the_rest(clock: Clock) -> None:
    """A lost connection: it comes again, and is taken in once."""
    house = House(clock, max_inflight_bytes=64 * 1024, max_message_bytes=200_000)
    published = [b'{"type":"task-started","uuid":"%d","filler":"%s"}' % (number, b"x" * 100_000) for number in range(3)]
    for body in published:
        house.source.publish(body)
    house.turn(2)
    house.source.fail = "gone"
    for _ in range(20):
        house.turn(seconds=1.0)
        house.sink.decide(Outcome.STORED)
    assert published == bodies(house)
    assert published == list(dict.fromkeys(event.data for event in house.sink.stored))


def test_events_that_are_not_wanted_are_acknowledged_without_a_sink(clock: Clock) -> None:
    """BRIDGE_EVENT_TYPES leaves events out; a message with none left is done at once."""
    house = House(clock, event_types=("task-*", "!task-sent"))
    house.source.publish(b'{"type":"worker-heartbeat"}', b'[{"type":"task-sent"},{"type":"task-started"}]')
    house.turn(2)
    assert ["task-started"] == [event.type for event in house.sink.undecided]
    assert [b'{"type":"worker-heartbeat"}'] == bodies(house)


def test_a_filter_that_leaves_out_everything_is_told_of(clock: Clock) -> None:
    """While nothing but drops happens, and not once something was forwarded."""
    house = House(clock, event_types=("task_started",))
    house.source.publish(LIST, EVENTS[0])
    house.turn(2)
    assert 6 == notices.NOTICES.counts()["all-filtered"]
    house.source.publish(b'[{"type":"task_started"},{"type":"task-started"}]', EVENTS[0])
    house.turn(2)
    assert 6 == notices.NOTICES.counts()["all-filtered"]


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


def test_what_is_given_back_to_save_memory_is_no_outage(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the log, not in the answer of `/readyz`, not among the reconnects; all of it comes again."""
    house.source.publish(*EVENTS)
    house.turn(2)
    assert house.status.broker_reason is None
    steered = iter([GivenBack("33 bytes in hand: given back")])

    def steer(*_: Any) -> None:
        if too_much := next(steered, None):
            raise too_much

    monkeypatch.setattr(house.source, "steer", steer)
    with structlog.testing.capture_logs() as logged:
        house.turn()
        assert house.status.broker_reason is None
        house.sink.at_once = True
        house.turn(5)
    assert [] == [line for line in logged if line["log_level"] in ("warning", "error")]
    assert EVENTS == bodies(house)[-len(EVENTS) :]
    assert house.source.calls.count("open") == 2
    assert 0 == house.metrics.registry.get_sample_value("celery_bridge_reconnects_total", {"end": "broker"})


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


@pytest.mark.parametrize(
    ("patterns", "wanted", "unwanted"),
    [
        (("*",), ["task-sent", "custom"], []),
        (("task-*", "!task-sent"), ["task-failed"], ["task-sent", "worker-online"]),
        (("!worker-heartbeat",), ["task-sent", "worker-online"], ["worker-heartbeat"]),
    ],
)
def test_event_filter(patterns: tuple[str, ...], wanted: list[str], unwanted: list[str]) -> None:
    """Patterns include, `!` excludes, exclusions alone leave all others."""
    matches = event_filter(patterns)
    assert (wanted, []) == ([t for t in wanted if matches(t)], [t for t in unwanted if matches(t)])
