"""The flight of one stream of a cluster: what comes back is held, and goes out in its order, when it can."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, Verdict
from celery_event_bridge.testing import sample_events
from celery_event_sinks.redis.flight import LONGEST_PAUSE, PAUSE, Flight


class Stream:
    """A stream that stores what it is told to."""

    def __init__(self) -> None:
        self.away = ""
        self.sent: list[Event] = []
        self.asked = 0
        self._decided: list[Verdict] = []

    def send(self, events: Sequence[Event]) -> None:
        self.sent += events

    def decide(self, outcome: Outcome, count: int) -> None:
        some, self.sent = self.sent[:count], self.sent[count:]
        self._decided.append(Verdict(outcome, some, "" if outcome is Outcome.STORED else "MOVED"))

    def verdicts(self, timeout: float) -> list[Verdict]:
        assert timeout == 0.0
        decided, self._decided = self._decided, []
        return decided

    def available(self) -> None:
        self.asked += 1
        if self.away:
            raise SinkUnavailable(self.away)

    def within(self, seconds: float) -> Any:
        return nullcontext()


class Case:
    """A flight, its stream and a clock."""

    def __init__(self) -> None:
        self.stream, self.now = Stream(), 100.0
        self.flight = Flight(self.stream, "s", lambda: self.now)  # type: ignore[arg-type]
        self.events = sample_events(6)

    def came_back(self, count: int) -> None:
        self.stream.decide(Outcome.RETRY, count)
        assert [] == list(self.flight.collect())


def test_what_came_back_goes_before_what_comes_later() -> None:
    """At once where the slot has only moved; also what came while it was held."""
    case = Case()
    case.flight.send(case.events[:3])
    case.came_back(3)
    case.flight.send(case.events[3:])
    assert [] == case.stream.sent
    assert not case.flight.resume(case.now)
    assert case.events == case.stream.sent
    assert not case.flight.holds


def test_nothing_goes_out_again_before_all_is_decided() -> None:
    """What the connection's sink still has may come back as well, and was there before."""
    case = Case()
    case.flight.send(case.events)
    case.came_back(2)
    assert not case.flight.resume(case.now)
    assert case.events[2:] == case.stream.sent
    case.stream.decide(Outcome.STORED, 4)
    assert [Outcome.STORED] == [verdict.outcome for verdict in case.flight.collect()]
    assert not case.flight.resume(case.now)
    assert case.events[:2] == case.stream.sent


def test_a_stream_that_is_away_is_asked_with_growing_pauses() -> None:
    """And nothing is sent to it meanwhile."""
    case = Case()
    case.flight.send(case.events[:3])
    case.came_back(3)
    case.stream.away = "away"
    times = []
    while case.now < 110:
        if case.flight.resume(case.now):
            times.append(round(case.now, 2))
        case.now += 0.01
    pauses = [round(later - earlier, 1) for earlier, later in pairwise(times)]
    assert sorted(pauses) == pauses
    assert round(2 * PAUSE, 1) == pauses[0]
    assert round(LONGEST_PAUSE, 1) == pauses[-1]
    assert "away" == case.flight.trouble
    case.flight.send(case.events[3:])
    assert [] == case.stream.sent
    case.stream.away = ""
    case.now += LONGEST_PAUSE
    assert not case.flight.resume(case.now)
    assert ("", case.events) == (case.flight.trouble, case.stream.sent)


def test_what_is_held_for_long_is_given_back_with_the_reason() -> None:
    """The time is that of the first, and begins anew with what is handed over again."""
    case = Case()
    case.flight.send(case.events)
    case.came_back(6)
    case.now += 5
    assert 5 == case.flight.held_for(case.now)
    verdict = case.flight.give_back()
    assert (Outcome.RETRY, case.events, "MOVED") == (verdict.outcome, list(verdict.events), verdict.reason)
    assert 0 == case.flight.held_for(case.now)
    assert not case.flight.holds


def test_what_comes_back_again_and_again_is_held_since_the_first_time() -> None:
    """Until something is stored: else it would go to and fro for ever."""
    case = Case()
    case.flight.send(case.events)
    case.came_back(6)
    for _ in range(3):
        case.now += 2
        assert not case.flight.resume(case.now)
        case.came_back(6)
    assert 6 == case.flight.held_for(case.now)
    case.now += 2
    assert not case.flight.resume(case.now)
    case.stream.decide(Outcome.STORED, 1)
    list(case.flight.collect())
    case.came_back(5)
    assert 0 == case.flight.held_for(case.now)
