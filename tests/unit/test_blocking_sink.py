"""The base class for sinks that simply block: batches, and what a failure gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bridge.contract import BlockingSink, Event, EventRefused, Outcome, SinkUnavailable
from bridge.testing import sample_events


class Recording(BlockingSink):
    """Stores in memory; `fails` may raise."""

    def __init__(self, fails: Callable[[Sequence[Event]], None] = lambda events: None) -> None:
        super().__init__()
        self.batches: list[list[Event]] = []
        self._fails = fails

    def store(self, events: Sequence[Event]) -> None:
        self._fails(events)
        self.batches.append(list(events))


def test_a_batch_for_each_question() -> None:
    """So that the relay can see to its connection between two."""
    sink = Recording()
    sink.batch_events = 4
    events = sample_events(10)
    sink.send(events)
    assert [[4], [4], [2], []] == [[len(verdict.events) for verdict in sink.verdicts(0.0)] for _ in range(4)]
    assert events == [event for batch in sink.batches for event in batch]


def test_batches_are_bounded_in_bytes() -> None:
    """An event larger than the bound goes alone."""
    sink = Recording()
    sink.batch_bytes = 1000
    events = [Event(str(n), "t", "s", None, "k", None, b"x" * size) for n, size in enumerate((400, 500, 200, 5000, 1))]
    sink.send(events)
    sizes = []
    while verdicts := sink.verdicts(0.0):
        sizes.append([len(event.data) for event in verdicts[0].events])
    assert [[400, 500], [200], [5000], [1]] == sizes


def test_a_failure_gives_back_all_that_is_queued_in_order() -> None:
    """What is behind the batch that failed must not be stored before it."""

    def away(events: Sequence[Event]) -> None:
        raise SinkUnavailable("away")

    sink = Recording(away)
    sink.batch_events = 2
    events = sample_events(5)
    sink.send(events)
    (verdict,) = sink.verdicts(0.0)
    assert (Outcome.RETRY, events, "away") == (verdict.outcome, list(verdict.events), verdict.reason)
    assert [] == list(sink.verdicts(0.0))


def test_after_a_refusal_one_by_one() -> None:
    """The one is refused, the others are stored."""
    events = sample_events(5)

    def too_long(batch: Sequence[Event]) -> None:
        if events[2] in batch:
            raise EventRefused("too long")

    sink = Recording(too_long)
    sink.send(events)
    verdicts = sink.verdicts(0.0)
    outcomes = {id(event): verdict.outcome for verdict in verdicts for event in verdict.events}
    assert [Outcome.REFUSED if n == 2 else Outcome.STORED for n in range(5)] == [outcomes[id(e)] for e in events]


def test_an_outage_during_one_by_one_gives_back_the_rest() -> None:
    """What was stored singly stays stored."""
    events = sample_events(4)

    def fails(batch: Sequence[Event]) -> None:
        if len(batch) > 1:
            raise EventRefused("one of them")
        if batch[0] is events[2]:
            raise SinkUnavailable("away")

    sink = Recording(fails)
    sink.send(events)
    *stored, again = sink.verdicts(0.0)
    assert events[:2] == [event for verdict in stored for event in verdict.events]
    assert (Outcome.RETRY, events[2:]) == (again.outcome, list(again.events))


def test_any_other_exception_is_a_bug() -> None:
    """It is not taken for an outage: the process ends, and the broker has the messages."""

    def bug(events: Sequence[Event]) -> None:
        raise ZeroDivisionError

    sink = Recording(bug)
    sink.send(sample_events(1))
    with pytest.raises(ZeroDivisionError):
        sink.verdicts(0.0)
