"""A silence is told of as long as nobody has heard anything, and once that is known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.gaps import FRESH, WAIT, Gaps
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.silences import Position, Silence
from celery_event_bridge.contract import notices


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def word(owner: str, *silences: tuple[float, float], aside: int = 0, released: bool = False) -> Control:
    """Return a mark of one that has heard nothing for so many seconds, until so many seconds ago."""
    place = Position("m", 0)
    silent = tuple(Silence(place, 0.0, "r", place, 0.0, "r", seconds, ended) for seconds, ended in silences)
    return Control(f"{owner}.1", owner, 0, None, released, silent, aside)


def told(*words: Control, after: float = WAIT, confirmed: float = 100.0, forwards: bool = True) -> float:
    """Return the seconds that are told of a silence of four, until 100, beside others that say this meanwhile."""
    gaps = Gaps()
    gaps.add(Hole(4.0, until=100.0))
    gaps.tell("there", 100.0, confirmed, forwards=forwards)
    now = 100.0
    while now < 100.0 + after:
        now += 0.25
        for each in words:
            ended = tuple(Silence(*[*_fields(one)[:-1], one.ended + now - 100.0]) for one in each.silences)
            gaps.heard(Control(each.mark, each.owner, 0, None, each.released, ended, each.aside), now)
        gaps.tell("there", now, confirmed, forwards=forwards)
    return notices.NOTICES.seconds("gap")


def _fields(one: Silence) -> tuple[object, ...]:
    return (one.begin, one.after, one.run_before, one.end, one.before, one.run, one.seconds, one.ended)


def test_with_nobody_else_all_of_it_is_lost() -> None:
    """Once the others have had the time to say otherwise."""
    assert 0.0 == told(after=WAIT - 0.3)
    assert 4.0 == told()


def test_what_another_one_has_heard_is_no_gap() -> None:
    """Several may have heard a part each."""
    assert 0.0 == told(word("b"))
    assert 2.0 == pytest.approx(told(word("b", (2.0, 1.0)))), "from 97 to 99 it was deaf as well"


def test_parts_that_several_have_heard_add_up() -> None:
    """From 96 to 98 one, and from 98 to 100 the other."""
    assert 0.0 == pytest.approx(told(word("b", (2.0, 0.0)), word("c", (2.0, 2.0))))


def test_silences_that_overlap_count_once() -> None:
    """Each is told of as rather too long."""
    assert 4.0 == pytest.approx(told(word("b", (6.0, 0.0), (5.0, 0.0), (3.0, 0.5))))


def test_while_another_one_has_not_published_all_again_nothing_is_told() -> None:
    """It may be killed before it has."""
    assert 0.0 == told(word("b", (4.0, 0.0), aside=3), after=2 * WAIT)


def test_who_was_cut_just_now_counts_as_nobody() -> None:
    """It has heard no mark since from which it could say where."""
    assert 4.0 == told(word("b", released=True))


def test_who_says_nothing_any_more_counts_as_nobody() -> None:
    """What it has heard is gone with it, if it was killed."""
    gaps = Gaps()
    gaps.add(Hole(4.0, until=100.0))
    gaps.heard(word("b"), 100.0)
    gaps.tell("there", 100.0, 100.0, forwards=True)
    gaps.tell("there", 100.1 + max(WAIT, FRESH), 100.0, forwards=True)
    assert 4.0 == notices.NOTICES.seconds("gap")


def test_a_silence_is_no_loss_while_something_behind_it_is_not_confirmed() -> None:
    """The others still hold what they have of it; and where another one goes on, that one tells of its own."""
    assert 0.0 == told(confirmed=99.0, after=3 * WAIT)
    assert 0.0 == told(forwards=False, after=3 * WAIT)


def test_no_time_is_told_of_twice() -> None:
    """Who takes over may come to a hole in what it tells of as missed before that."""
    gaps = Gaps()
    for hole in (Hole(4.0, until=100.0), Hole(1.0, until=98.0), Hole(6.0, until=101.0)):
        gaps.add(hole)
    gaps.tell_all("there", 101.0)
    assert 6.0 == notices.NOTICES.seconds("gap")


def test_what_is_left_at_a_stop_is_told() -> None:
    """Nobody else would."""
    gaps = Gaps()
    gaps.add(Hole(4.0, until=100.0))
    gaps.tell_all("there", 100.0)
    assert 4.0 == notices.NOTICES.seconds("gap")
