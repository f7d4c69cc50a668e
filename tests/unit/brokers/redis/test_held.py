"""The window of events that a subscriber holds, against a plain list of what was published."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.silences import Position
from celery_event_bridge.contract.broker import Ack

LARGE = 2**40


def payload(number: int) -> bytes:
    return sealed(b"%d" % number, "application/json", {}, "celeryev", "task.sent")


def window_of(*numbers: int, max_bytes: int = LARGE) -> Window:
    """Return a window that has heard these, after a mark called `m`."""
    window = Window(max_bytes, 0.0)
    window.mark("m", 0.0)
    for number in numbers:
        window.hear(payload(number))
    return window


def taken(window: Window, most: int = 100) -> list[int]:
    return [int(each.body) for each in window.take(most)[0]]


def test_what_is_handed_out_and_not_confirmed_comes_again_in_order() -> None:
    """After a lost connection, and ahead of what has never been handed out."""
    window = window_of(1, 2, 3, 4)
    first, _ = window.take(3)
    window.acknowledge([Ack(first[1].lane, first[1].tag, multiple=False)])
    window.put_back()
    assert [1, 3, 4] == taken(window)


def test_an_acknowledgement_of_a_lane_that_is_over_means_nothing() -> None:
    """A late verdict on what was put back cannot confirm what is handed out again."""
    window = window_of(1, 2)
    first, _ = window.take(2)
    window.put_back()
    window.take(2)
    window.acknowledge([Ack(first[1].lane, first[1].tag, multiple=True)])
    assert Position("m", 0) == window.confirmed()


def test_a_single_one_that_is_given_back_is_handed_out_once_more() -> None:
    """And an acknowledgement of those behind it does not name it."""
    window = window_of(1, 2, 3)
    first, _ = window.take(3)
    window.give_back([Ack(first[0].lane, first[0].tag, multiple=False)])
    window.acknowledge([Ack(first[2].lane, first[2].tag, multiple=True)])
    assert Position("m", 0) == window.confirmed()
    (again,), _ = window.take(3)
    assert b"1" == again.body
    window.acknowledge([Ack(again.lane, again.tag, multiple=True)])
    assert Position("m", 3) == window.confirmed()


def test_a_position_is_the_same_place_for_another_subscriber() -> None:
    """Who joined later, and heard the mark as well, drops what lies before that place and nothing else."""
    forwarder, other = window_of(1, 2, 3), Window(LARGE, 0.0)
    other.hear(payload(3))
    for window in (forwarder, other):
        window.mark("n", 1.0)
        for number in (4, 5, 6):
            window.hear(payload(number))
    handed, _ = forwarder.take(5)
    forwarder.acknowledge([Ack(handed[-1].lane, handed[-1].tag, multiple=True)])
    position = forwarder.confirmed()
    assert Position("n", 2) == position
    assert other.confirmed_elsewhere(position)
    assert [6] == taken(other)


def test_a_mark_from_before_a_hole_is_no_place_behind_it() -> None:
    """Counted across the hole, a position would drop events that nobody has confirmed."""
    window = window_of(1)
    window.deafened(2.0, 5.0)
    window.hear(payload(4))
    assert not window.confirmed_elsewhere(Position("m", 2))
    assert not window.knows(Position("m", 0))
    events, holes = window.take(10)
    assert [b"1", b"4"] == [each.body for each in events]
    assert [Hole(seconds=2.0, until=5.0)] == holes
    assert 5.0 == window.since


def test_a_hole_that_another_one_has_forwarded_across_is_not_told_of() -> None:
    """It was not deaf at the same time."""
    window = window_of(1)
    window.deafened(2.0, 5.0)
    window.hear(payload(4))
    window.mark("n", 6.0)
    window.hear(payload(5))
    assert window.confirmed_elsewhere(Position("n", 0))
    events, holes = window.take(10)
    assert [b"5"] == [each.body for each in events]
    assert [] == holes


def test_past_the_bound_the_oldest_are_dropped_and_counted_once() -> None:
    """By who forwards; of what another one has confirmed meanwhile nothing is told."""
    one = len(payload(10)) + 200
    window = window_of(*range(10, 20), max_bytes=3 * one)
    kept = window.waiting
    assert 0 < kept < 10
    assert Position("m", 0) == window.confirmed(), "what was dropped is not confirmed"
    events, holes = window.take(100)
    assert [20 - kept + number for number in range(kept)] == [int(each.body) for each in events]
    assert [Hole(dropped=10 - kept)] == holes
    assert [] == window.take(100)[1]


def test_of_what_was_dropped_and_confirmed_elsewhere_the_rest_counts() -> None:
    """A standby with less room than the one that forwards loses nothing by it, up to that one's word."""
    one = len(payload(10)) + 200
    window = window_of(*range(10, 20), max_bytes=3 * one)
    kept = window.waiting
    assert window.confirmed_elsewhere(Position("m", 4))
    assert [Hole(dropped=10 - kept - 4)] == window.take(100)[1]
    window = window_of(*range(10, 20), max_bytes=3 * one)
    assert window.confirmed_elsewhere(Position("m", 9))
    assert ([19], []) == (taken(window), window.take(1)[1])


def test_a_hole_among_what_is_dropped_is_told_of() -> None:
    """And the events on both sides of it are counted."""
    one = len(payload(10)) + 200
    window = window_of(10, 11, max_bytes=2 * one)
    window.deafened(1.0, 2.0)
    window.deafened(0.5, 3.0)
    for number in range(12, 20):
        window.hear(payload(number))
    kept = window.waiting
    _, holes = window.take(100)
    assert 10 - kept == sum(hole.dropped for hole in holes)
    assert 1.5 == sum(hole.seconds for hole in holes)


def test_what_is_older_than_the_window_is_dropped_by_the_marks() -> None:
    """Where no word of who forwards can be placed."""
    window = window_of(1, 2)
    window.mark("n", 10.0)
    window.hear(payload(3))
    window.mark("o", 20.0)
    window.hear(payload(4))
    window.drop_older(15.0)
    assert [3, 4] == taken(window)


def test_the_age_is_that_of_the_oldest_that_is_not_confirmed() -> None:
    """By the mark before it; nothing where all is confirmed, and a hole counts from its beginning."""
    window = Window(LARGE, 0.0)
    window.mark("m", 10.0)
    assert 0.0 == window.age(20.0)
    window.hear(payload(1))
    window.mark("n", 12.0)
    window.mark("o", 13.0)
    window.hear(payload(2))
    assert 10.0 == window.age(20.0)
    (first, second), _ = window.take(2)
    window.acknowledge([Ack(first.lane, first.tag, multiple=True)])
    assert 7.0 == window.age(20.0)
    window.acknowledge([Ack(second.lane, second.tag, multiple=True)])
    assert 0.0 == window.age(20.0)
    window.deafened(4.0, 18.0)
    assert 6.0 == window.age(20.0)
    window.take(1)
    assert 0.0 == window.age(20.0)


def test_a_hole_may_turn_out_longer() -> None:
    """The last one, as long as it is to come."""
    window = window_of(1)
    window.deafened(1.0, 5.0)
    window.hear(payload(2))
    window.missed(3.0)
    assert [Hole(seconds=3.0, until=5.0)] == window.take(10)[1]
    window.missed(4.0)
    assert [] == window.take(10)[1]


def test_who_has_dropped_what_is_old_does_not_claim_to_have_it() -> None:
    """Else it takes over at once, and what is gone is told of by nobody."""
    window = window_of(1)
    window.mark("n", 10.0)
    window.hear(payload(2))
    window.drop_older(12.0)
    assert [2] == taken(window)
    assert not window.knows(Position("m", 0))
    assert window.knows(Position("n", 0))
    assert 10.0 == window.since


STEPS = st.lists(
    st.tuples(st.sampled_from(["hear", "mark", "take", "ack", "single", "back", "put"]), st.integers(0, 9)), max_size=60
)


@given(STEPS)
def test_against_a_plain_list(steps: list[tuple[str, int]]) -> None:
    """Whatever is done, each event is handed out until it is confirmed, and the position is the first that is not."""
    window, published, marks = Window(LARGE, 0.0), 0, [("m", 0)]
    window.mark("m", 0.0)
    unconfirmed: dict[int, None] = {}
    waiting: deque[int] = deque()
    in_hand = {}
    for step, number in steps:
        if step == "hear":
            published += 1
            window.hear(payload(published))
            unconfirmed[published] = None
            waiting.append(published)
        elif step == "mark":
            marks.append((f"m{len(marks)}", published))
            window.mark(marks[-1][0], 0.0)
        elif step == "take":
            events, holes = window.take(number)
            assert [] == holes
            assert [waiting.popleft() for _ in events] == [int(each.body) for each in events]
            in_hand |= {int(each.body): each for each in events}
        elif step in ("ack", "single") and in_hand:
            chosen = list(in_hand)[number % len(in_hand)]
            message, multiple = in_hand[chosen], step == "ack"
            window.acknowledge([Ack(message.lane, message.tag, multiple=multiple)])
            for each, held in list(in_hand.items()):
                if each == chosen or (multiple and held.lane is message.lane and held.tag < message.tag):
                    del in_hand[each], unconfirmed[each]
        elif step == "back" and in_hand:
            chosen = list(in_hand)[number % len(in_hand)]
            message = in_hand.pop(chosen)
            window.give_back([Ack(message.lane, message.tag, multiple=False)])
            waiting = deque(sorted([*waiting, chosen]))
        elif step == "put":
            window.put_back()
            waiting = deque(sorted([*waiting, *in_hand]))
            in_hand.clear()
        first = min(unconfirmed, default=published + 1)
        position = window.confirmed()
        assert position is not None
        assert first == dict(marks)[position.mark] + position.events + 1
        assert len(waiting) == window.waiting


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\xff", b'{"body": 3}', b'{"body": "!", "properties": {"body_encoding": "base64"}}']
)
def test_what_is_no_envelope_is_handed_out_as_it_is(text: bytes) -> None:
    """So that it is parked, and can be sent again to the letter."""
    window = Window(LARGE, 0.0)
    window.hear(text)
    ((message,), _) = window.take(1)
    assert (text, True) == (message.body, message.raw)
