"""A silence is told of as long as nobody has heard anything, once that is known, and by one alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.gaps import ABSENT, EVER, FRESH, WAIT, Gaps
from celery_event_bridge.contract import notices
from tests.support.redis_bench import Bench

Spans = tuple[tuple[float, float], ...]


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def seconds() -> float:
    return notices.NOTICES.seconds("gap")


def say(
    gaps: Gaps,
    owner: str,
    now: float,
    *unheard: tuple[float, float],
    aside: int = 0,
    told: Spans = (),
    confirmed: float | None = None,
) -> None:
    """Let a word arrive: times that its speaker has not heard, or was told of; with `confirmed`, of who forwards."""
    times = tuple((now - begin, now - end) for begin, end in unheard)
    age = 0.0 if confirmed is None else now - confirmed
    was_told = tuple((now - begin, now - end) for begin, end in told)
    word = Control(f"{owner}.1", owner, 0, None, False, (), aside, age, times, was_told)
    gaps.heard(word, now, now, forwards=confirmed is not None)


def silent(*words: tuple[str, Spans], aside: int = 0, after: float = WAIT, confirmed: float = 100.0) -> float:
    """Return the seconds that are told of a silence of four, until 100, beside others that say this meanwhile."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    now = 100.0
    while now <= 100.0 + after:
        for owner, unheard in words:
            say(gaps, owner, now, *unheard, aside=aside)
        gaps.tell("there", now, confirmed, forwards=True)
        now += 0.25
    return seconds()


def let_pass(gaps: Gaps, first: float, last: float, *, forwards: bool = True, confirmed: float = 200.0) -> None:
    now = first
    while now <= last:
        gaps.tell("there", now, confirmed, forwards=forwards)
        now += 0.25


def test_with_nobody_else_all_of_it_is_lost() -> None:
    """Once the others have had the time to say otherwise."""
    assert 0.0 == silent(after=WAIT - 0.3)
    assert 4.0 == silent()


def test_what_another_one_has_heard_is_no_gap() -> None:
    """Several may have heard a part each."""
    assert 0.0 == silent(("b", ()))
    assert 2.0 == pytest.approx(silent(("b", ((97.0, 99.0),)))), "from 97 to 99 it was deaf as well"


def test_parts_that_several_have_heard_add_up() -> None:
    """From 96 to 98 one, and from 98 to 100 the other."""
    assert 0.0 == pytest.approx(silent(("b", ((98.0, 100.0),)), ("c", ((96.0, 98.0),))))


def test_silences_that_overlap_count_once() -> None:
    """Each is told of as rather too long."""
    assert 4.0 == pytest.approx(silent(("b", ((94.0, 100.0), (95.0, 100.0), (96.5, 99.5)))))


def test_while_another_one_has_not_published_all_again_nothing_is_told() -> None:
    """It may be killed before it has."""
    assert 0.0 == silent(("b", ((97.0, 100.0),)), aside=3, after=2 * WAIT)


def test_who_has_not_been_there_has_heard_nothing() -> None:
    """Its first word says so."""
    assert 4.0 == pytest.approx(silent(("b", ((-EVER, 100.5),))))


def test_who_says_nothing_for_a_while_is_waited_for() -> None:
    """It may stand still, and have heard everything; if it says nothing for long, what it has heard is gone with it."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    say(gaps, "b", 100.0)
    let_pass(gaps, 100.0, 99.0 + ABSENT)
    assert 0.0 == seconds()
    let_pass(gaps, 99.0 + ABSENT, 102.0 + ABSENT)
    assert 4.0 == seconds()


def test_who_stood_still_itself_reads_first_what_the_others_have_said() -> None:
    """Their words wait in its socket meanwhile."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    say(gaps, "b", 100.0)
    gaps.tell("there", 100.0, 100.0, forwards=True)
    gaps.tell("there", 200.0, 100.0, forwards=True)
    assert 0.0 == seconds()
    say(gaps, "b", 200.0)
    let_pass(gaps, 200.0, 200.0 + FRESH / 2)
    assert 0.0 == seconds()


def test_a_silence_is_no_loss_while_something_behind_it_is_not_confirmed() -> None:
    """The others still hold what they have of it."""
    assert 0.0 == silent(confirmed=99.0, after=3 * WAIT)


def test_what_who_forwards_has_heard_and_stored_is_no_gap() -> None:
    """Also once that one is gone; but for what it has not heard itself, and what it has not confirmed."""
    gaps = Gaps()
    gaps.add(90.0, 100.0)
    say(gaps, "b", 101.0, (92.0, 93.0), confirmed=96.0)
    let_pass(gaps, 103.0, 105.0 + ABSENT)
    assert 5.0 == pytest.approx(seconds())


def test_what_is_set_aside_is_not_stored_yet() -> None:
    """Who has it may be killed before it has published it again."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    say(gaps, "b", 101.0, aside=1, confirmed=101.0)
    let_pass(gaps, 103.0, 104.0 + ABSENT)
    assert 4.0 == pytest.approx(seconds())


def test_a_word_on_another_server_says_nothing_of_this_one() -> None:
    """Behind a partition that one has stored what was published there."""
    gaps = Gaps()
    say(gaps, "b", 101.0, confirmed=101.0)
    gaps.another_server(100.0)
    gaps.add(96.0, 100.0)
    let_pass(gaps, 103.0, 104.0 + ABSENT)
    assert 4.0 == pytest.approx(seconds())


def from_another_server(gaps: Gaps, owner: str, now: float) -> None:
    """Let a word arrive of one that was at another server from 90 on until then."""
    times = ((now - 90.0, now - 100.0),)
    gaps.heard(Control("m", owner, 0, None, False, (), 0, 0.0, times, apart=times), now, now, forwards=True)


def test_who_comes_from_another_server_later_has_not_heard_this_one() -> None:
    """What it heard until then was published at the other one, behind a partition; what came later is stored."""
    gaps = Gaps()
    gaps.another_server(110.0)
    gaps.add(97.0, 110.0)
    for now in (110.5, 111.0):
        from_another_server(gaps, "b", now)
        assert [(13.5, 10.5), (20.5, 10.5)] == [(b - now + 110.5, e - now + 110.5) for b, e in gaps.unheard(now)]
    assert gaps.unheard(111.0)[1:] == gaps.apart(111.0)


def test_what_was_heard_at_this_server_before_another_one_came_is_no_gap() -> None:
    """It was here until that one forwarded, and has what was published meanwhile."""
    gaps = Gaps()
    gaps.another_server(95.0)
    from_another_server(gaps, "b", 110.5)
    assert [(20.5, 15.5)] == [*gaps.unheard(110.5)]


def test_a_gap_behind_a_partition_waits_for_who_comes_last() -> None:
    """Its first word says nothing yet of what was published here while it was at the other server."""
    gaps = Gaps()
    gaps.add(90.0, 100.0, apart=True)
    gaps.tell("there", 101.0, 101.0, forwards=True)
    now = 101.0 + WAIT - 0.1
    gaps.heard(Control("m", "b", 0, None, True, (), 0, 0.0, ((3.0, 0.0),)), now, now, forwards=False)
    gaps.tell("there", 101.0 + WAIT, 101.0 + WAIT, forwards=True)
    assert 0.0 == seconds()
    say(gaps, "b", now + 1.0, (90.0, now))
    let_pass(gaps, now + 1.0, now + 1.0 + WAIT)
    assert 10.0 == pytest.approx(seconds())


def test_who_comes_behind_a_partition_says_so() -> None:
    """The others that come later have been at the other server as well."""
    bench = Bench()
    bench.take()
    bench.source.drop()
    bench.run, bench.record = "r2", ("a", round((bench.clock.now - 5.0) * 1000), "m", 0, "r", "here", "1", "a", "")
    bench.source.open()
    bench.turn(0.6)
    bench.turn(0.6)
    ((begin, end),) = bench.link.words[-1].apart
    assert 4.2 < begin - end < 5.1


def test_the_others_keep_a_gap_until_it_is_told() -> None:
    """Who would tell of it may be killed while it waits."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    for step in range(20):
        now = 100.5 + step / 4
        say(gaps, "b", now, (96.0, 100.0), confirmed=now)
        gaps.tell("there", now, now, forwards=False)
    assert 0.0 == seconds()
    let_pass(gaps, 105.0, 105.0 + ABSENT)
    assert 4.0 == pytest.approx(seconds(), abs=0.01)


def test_what_another_one_has_told_is_told_once() -> None:
    """As exactly as two replicas know the same times."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    gaps.add(97.0, 100.5)
    say(gaps, "b", 101.0, told=((96.05, 99.97),))
    assert gaps.unheard(101.0) == ((0.93, 0.5),)
    let_pass(gaps, 103.0, 104.0 + ABSENT)
    assert seconds() < 0.5


def test_who_has_come_later_knows_of_gaps_that_wait() -> None:
    """By the word of who forwards, which has heard what was before but for these."""
    gaps = Gaps()
    gaps.add(-EVER, 100.0)
    say(gaps, "b", 100.5, (96.0, 98.0), confirmed=100.5)
    let_pass(gaps, 103.0, 104.0 + ABSENT)
    assert 2.0 == pytest.approx(seconds())


def test_nothing_is_missed_where_nobody_has_forwarded_before() -> None:
    """The first bridge of all was not there for ever."""
    gaps = Gaps()
    gaps.add(-EVER, 100.0)
    gaps.nobody_before()
    let_pass(gaps, 103.0, 106.0)
    assert 0.0 == seconds()


def test_while_there_is_no_server_nothing_is_lost() -> None:
    """Nobody could publish."""
    gaps = Gaps()
    gaps.away(96.5, 99.0)
    gaps.add(96.0, 100.0)
    let_pass(gaps, 100.0, 102.0)
    assert 1.5 == seconds()


def test_no_time_is_told_of_twice() -> None:
    """Who takes over may come to a hole in what it tells of as missed before that."""
    gaps = Gaps()
    for begin, end in ((96.0, 100.0), (97.0, 98.0), (95.0, 101.0)):
        gaps.add(begin, end)
    gaps.tell_all("there", 101.0, forwards=True)
    assert 6.0 == seconds()
    gaps.add(95.0, 101.0)
    gaps.tell_all("there", 102.0, forwards=True)
    assert 6.0 == seconds()


def test_what_is_left_at_a_stop_is_told_where_nobody_else_would() -> None:
    """Else who forwards next does: it has kept the same times."""
    gaps = Gaps()
    gaps.add(96.0, 100.0)
    say(gaps, "b", 100.0, (96.0, 100.0))
    gaps.tell_all("there", 100.5, forwards=True)
    assert 0.0 == seconds()
    let_pass(gaps, 100.5, 102.5, forwards=False)
    gaps.tell_all("there", 102.5, forwards=True)
    assert 4.0 == seconds()


def test_the_times_that_wait_are_bounded() -> None:
    """Two become one; none is forgotten."""
    gaps = Gaps()
    for number in range(200):
        gaps.add(number, number + 0.5)
    let_pass(gaps, 300.0, 302.0)
    assert 100.0 == pytest.approx(seconds())
