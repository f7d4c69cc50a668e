"""What the relay takes in: sizes, compression, memory, and the types that are wanted."""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import Any

import pytest
import structlog

from celery_event_bridge.contract import Outcome, notices
from celery_event_bridge.contract.broker import GivenBack
from celery_event_bridge.forward.intake import event_filter
from tests.support.relays import EVENTS, LIST, Clock, House, bodies

FORGED = b"\x5d" + (2**32 - 1).to_bytes(4, "little") + (10).to_bytes(8, "little") + bytes(20)
"""LZMA that says of itself that it needs four gigabytes of memory."""


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


@pytest.mark.parametrize("name", [None, "eu"])
def test_each_event_has_the_brokers_name(clock: Clock, name: str | None) -> None:
    """Single, in a list, in one with something else in it, and compressed; its id is the same as without."""
    house = House(clock, broker_name=name)
    odd = b'[{"type":"a","timestamp":NaN},{"type":"b"}, 3]'
    for body in (EVENTS[0], LIST, odd):
        house.source.publish(body)
    house.source.publish(zlib.compress(b'{"type":"c"}'), headers={"compression": "application/x-gzip"})
    for _ in range(4):
        house.turn()
        house.sink.decide(Outcome.STORED)
    assert {"a", "b", "c"} < {event.type for event in house.sink.stored}
    assert {name} == {event.broker for event in house.sink.stored}
    assert all(event.id == blake2b(event.data, digest_size=16).hexdigest() for event in house.sink.stored)


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
