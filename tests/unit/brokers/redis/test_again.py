"""What who forwards has never heard is published again by one of those that have, for it and all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_event_bridge.brokers.envelope import opened, sealed
from celery_event_bridge.brokers.redis.aside import AT_ONCE, TRIES, TURN
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.silences import Position, Silence
from celery_event_bridge.contract import notices
from tests.support.redis_bench import Bench


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def payload(body: bytes) -> bytes:
    return sealed(body, "application/json", {}, "celeryev", "task.sent")


SILENCE = Silence(Position("b.1", 0), 3.0, "r", Position("b.2", 0), 1.0, "r", 2.0, 1.0)
"""Of all between the two marks."""


def beside_one_that_was_cut(events: int = 3) -> Bench:
    """Return a source that has heard so many events which the one that forwards, `b`, has not."""
    bench = Bench()
    bench.link.holder = "b"
    bench.link.say(Control("b.1", "b", 9, None))
    bench.link.publish(*[b"%d" % number for number in range(events)])
    bench.link.say(Control("b.2", "b", 9, None))
    bench.turn()
    bench.link.say(Control("b.3", "b", 9, Position("b.2", 0), silences=(SILENCE,)))
    return bench


def published(bench: Bench) -> list[bytes]:
    return [opened(payload, None, 0).body for payload in bench.link.again]


def test_it_is_published_again_once() -> None:
    """And handed out like any other once this one forwards."""
    bench = beside_one_that_was_cut()
    for _ in range(20):
        bench.turn(0.1)
    assert [b"0", b"1", b"2"] == published(bench)
    bench.link.holder = ""
    assert [b"0", b"1", b"2"] == [body for _ in range(12) for body in bench.turn(0.5)]


def test_what_another_one_publishes_again_is_left_to_it() -> None:
    """They may all have the same."""
    bench = beside_one_that_was_cut()
    bench.link.say(Control("c.1", "c", 0, None, aside=3))
    bench.turn()
    bench.turn(0.6)
    assert [] == published(bench)
    bench.link.pass_on(payload(b"0"))
    bench.link.pass_on(payload(b"1"))
    bench.link.say(Control("c.2", "c", 0, None, aside=0))
    for _ in range(20):
        bench.turn(0.1)
    assert [b"2"] == published(bench), "what that one had not"


def test_a_turn_that_is_not_used_ends() -> None:
    """Who had it may have been killed."""
    bench = beside_one_that_was_cut()
    bench.link.say(Control("c.1", "c", 0, None, aside=3))
    while bench.clock.now < 100.0 + TURN:
        bench.turn(0.1)
    assert [] == published(bench)
    for _ in range(20):
        bench.turn(0.1)
    assert [b"0", b"1", b"2"] == published(bench)


def test_many_are_published_by_few() -> None:
    """More at once, and the server might cut off who reads slowly."""
    bench = beside_one_that_was_cut(3 * AT_ONCE)
    counts = [len(bench.link.again)]
    while counts[-1] < 3 * AT_ONCE:
        bench.turn()
        counts.append(len(bench.link.again))
        assert counts[-1] - counts[-2] <= AT_ONCE
    assert bench.clock.now < 101.0, "one after the other without a pause"


def test_what_is_published_and_not_heard_is_published_again_slowly_and_not_for_ever() -> None:
    """As where it is too large for the server's buffers, and cuts off everybody each time."""
    bench = beside_one_that_was_cut()
    bench.link.keeps_again = True
    for _ in range(8):
        bench.turn(0.05)
    assert 0 < len(published(bench)) < 3 * TRIES, "within 0.4 s"
    for _ in range(40):
        bench.turn(0.2)
    assert 3 * TRIES == len(published(bench))
    assert 3 == notices.NOTICES.counts()["dropped"]


def test_who_was_cut_off_says_from_where_to_where() -> None:
    """Both are places that the others know."""
    bench = Bench()
    bench.take()
    bench.link.say(Control("c.1", "c", 0, None))
    bench.link.publish(b"1", b"2")
    bench.turn()
    bench.source.drop()
    bench.clock.now += 2.0
    bench.source.open()
    first = bench.link.words[0].mark
    for _ in range(3):
        bench.turn(0.5)
    silence = bench.link.words[-1].silences[-1]
    assert (Position("c.1", 2), Position(first, 0)) == (silence.begin, silence.end)
    assert 2.0 <= silence.seconds < 3.0


def test_what_arrives_while_it_subscribes_is_no_end_of_its_silence() -> None:
    """And not the beginning either: what lies before it was heard is not here."""
    bench = Bench()
    bench.take()
    bench.link.say(Control("c.1", "c", 0, None))
    bench.link.publish(b"1")
    bench.turn()
    bench.source.drop()
    bench.early = [payload(b"4")]
    bench.source.open()
    for _ in range(3):
        bench.turn(0.5)
    silence = bench.link.words[-1].silences[-1]
    assert (Position("c.1", 1), Position(bench.link.words[0].mark, 0)) == (silence.begin, silence.end)


def test_what_is_dropped_for_want_of_room_is_told_of() -> None:
    """Nobody else may have it."""
    bench = beside_one_that_was_cut()
    bench.link.say(Control("c.1", "c", 0, None, aside=3))
    bench.turn()
    bench.link.publish(b"x" * ((bench.settings.max_inflight_bytes - 1000) * 3 // 4))
    bench.turn()
    bench.turn()
    assert 0 < notices.NOTICES.counts()["dropped"] <= 3


@pytest.mark.parametrize(("aside", "kept"), [(2, [b"1", b"2"]), (0, [])])
def test_what_who_forwards_has_set_aside_its_word_does_not_confirm(aside: int, kept: list[bytes]) -> None:
    """It has taken the lease meanwhile, and alone has them, but for those that have not let go of them."""
    bench = Bench()
    bench.link.holder = "b"
    bench.link.say(Control("b.1", "b", 9, None))
    bench.link.publish(b"1", b"2")
    bench.link.say(Control("b.2", "b", 9, Position("b.1", 2), aside=aside))
    bench.turn()
    bench.link.holder = ""
    assert kept == [body for _ in range(12) for body in bench.turn(0.5)]


def test_a_stop_leaves_it_to_the_others() -> None:
    """It would be gone with this one."""
    bench = beside_one_that_was_cut()
    bench.turn()
    bench.source.close()
    assert [b"0", b"1", b"2"] == published(bench)
