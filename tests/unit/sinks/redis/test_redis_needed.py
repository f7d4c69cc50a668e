"""What the groups of a stream need, with those that are gone."""

from __future__ import annotations

from celery_event_sinks.redis.needed import HOLD, HOLD_OF_A_CONSUMER, NeededEntries

S = b"s"


def test_without_a_group_nothing_may_go() -> None:
    """Neither before there is one, nor once all are gone."""
    needed = NeededEntries()
    assert (needed.look(S, {}, 0.0), needed.first(S)) == ([], None)
    needed.look(S, {b"a": (5, 0)}, 1.0)
    assert (needed.look(S, {}, 2.0), needed.first(S)) == ([b"a"], None)
    assert (needed.look(S, {}, 3.0 + HOLD), needed.first(S)) == ([], None)


def test_what_a_group_needed_is_kept_for_some_time_once_it_is_gone() -> None:
    """The group is told of once; after the time it holds nothing up."""
    needed = NeededEntries()
    needed.look(S, {b"slow": (5, 0), b"fast": (9, 0)}, 0.0)
    assert (needed.look(S, {b"fast": (9, 0)}, 10.0), needed.first(S)) == ([b"slow"], (5, 0))
    assert (needed.look(S, {b"fast": (12, 0)}, 9.0 + HOLD), needed.first(S)) == ([], (5, 0))
    assert (needed.look(S, {b"fast": (12, 0)}, 10.0 + HOLD), needed.first(S)) == ([], (12, 0))


def test_a_group_that_is_there_again_needs_what_it_says() -> None:
    """Nothing else is kept for it, and it is kept for again when it goes again."""
    needed = NeededEntries()
    needed.look(S, {b"slow": (5, 0), b"fast": (9, 0)}, 0.0)
    needed.look(S, {b"fast": (9, 0)}, 10.0)
    assert (needed.look(S, {b"slow": (7, 0), b"fast": (9, 0)}, 20.0), needed.first(S)) == ([], (7, 0))
    assert (needed.look(S, {b"fast": (9, 0)}, 30.0), needed.first(S)) == ([b"slow"], (7, 0))


def test_the_group_that_the_bridge_makes_to_make_a_stream_needs_nothing() -> None:
    """It is there for a moment, and its going is no matter."""
    needed = NeededEntries()
    needed.look(S, {b"celery-event-bridge": (0, 1), b"fast": (9, 0)}, 0.0)
    assert (needed.look(S, {b"fast": (9, 0)}, 10.0), needed.first(S)) == ([], (9, 0))


def test_streams_are_kept_apart() -> None:
    """A group of another stream does not count."""
    needed = NeededEntries()
    needed.look(S, {b"a": (5, 0)}, 0.0)
    assert needed.look(b"other", {b"b": (7, 0)}, 0.0) == []
    assert (needed.first(S), needed.first(b"other")) == ((5, 0), (7, 0))


def test_what_a_group_needed_is_kept_for_some_time_once_a_consumer_is_lost() -> None:
    """A consumer that is there, and has acknowledged what it had, is asked about and keeps nothing."""
    needed = NeededEntries()
    assert needed.settled(S, b"a", [b"one", b"two"]) == frozenset()
    needed.look(S, {b"a": (5, 0)}, 0.0)
    assert needed.settled(S, b"a", [b"two", b"three"]) == {b"one"}
    assert (needed.look(S, {b"a": (7, 0)}, 10.0), needed.first(S)) == ([], (7, 0))
    assert needed.settled(S, b"a", [b"three"]) == {b"two"}
    needed.lost(S, b"a", 20.0)
    assert (needed.look(S, {b"a": (9, 0)}, 20.0), needed.first(S)) == ([], (7, 0))
    assert (needed.look(S, {b"a": (9, 0)}, 19.0 + HOLD_OF_A_CONSUMER), needed.first(S)) == ([], (7, 0))
    assert (needed.look(S, {b"a": (9, 0)}, 20.0 + HOLD_OF_A_CONSUMER), needed.first(S)) == ([], (9, 0))


def test_a_group_that_was_not_seen_before_has_lost_nothing() -> None:
    """Nobody knows what it needed."""
    needed = NeededEntries()
    needed.lost(S, b"a", 0.0)
    assert (needed.look(S, {b"a": (9, 0)}, 0.0), needed.first(S)) == ([], (9, 0))
