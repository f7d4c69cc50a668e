"""The base class for sinks that simply block: batches, and what a failure gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.contract import BlockingSink, Event, EventRefused, Outcome, SinkUnavailable
from celery_event_bridge.testing import sample_events


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


def sized(*sizes: int) -> list[Event]:
    return [Event(str(n), "t", "s", None, "k", None, b"x" * size) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((500, 500), [[500, 500]]),
        ((500, 501), [[500], [501]]),
        ((1000, 1), [[1000], [1]]),
        ((2000, 2000), [[2000], [2000]]),
        ((0, 0, 1000, 0), [[0, 0, 1000], [0]]),
    ],
)
def test_a_batch_may_be_as_large_as_its_bounds(sizes: tuple[int, ...], expected: list[list[int]]) -> None:
    """1000 bytes and three events, not one more of either."""
    sink = Recording()
    sink.batch_bytes, sink.batch_events = 1000, 3
    sink.send(sized(*sizes))
    while sink.verdicts(0.0):
        pass
    assert expected == [[len(event.data) for event in batch] for batch in sink.batches]


def test_what_comes_later_is_behind_what_is_queued() -> None:
    """In a batch with it, where there is room."""
    sink = Recording()
    sink.batch_events = 3
    events = sample_events(6)
    sink.send(events[:2])
    sink.send(events[2:])
    while sink.verdicts(0.0):
        pass
    assert [events[:3], events[3:]] == sink.batches


def test_nothing_queued_is_no_verdict() -> None:
    """And `store` is not called."""
    sink = Recording()
    assert [] == list(sink.verdicts(5.0))
    assert [] == sink.batches


def test_a_close_forgets_what_is_queued() -> None:
    """It is nobody's any more; the sink can be used again."""
    sink = Recording()
    sink.send(sample_events(3))
    sink.close()
    sink.close()
    sink.open()
    sink.available()
    assert [] == list(sink.verdicts(0.0))
    events = sample_events(1)
    sink.send(events)
    assert [events] == [list(verdict.events) for verdict in sink.verdicts(0.0)]


def test_an_outage_during_one_by_one_gives_back_what_is_queued_behind() -> None:
    """The rest of the batch first, then the queue, so that order holds."""
    events = sample_events(6)

    def fails(batch: Sequence[Event]) -> None:
        if len(batch) > 1:
            raise EventRefused("one of them")
        if batch[0] is events[1]:
            raise SinkUnavailable("away")

    sink = Recording(fails)
    sink.batch_events = 3
    sink.send(events)
    stored, again = sink.verdicts(0.0)
    assert (Outcome.STORED, events[:1]) == (stored.outcome, list(stored.events))
    assert (Outcome.RETRY, events[1:], "away") == (again.outcome, list(again.events), again.reason)
    assert [] == list(sink.verdicts(0.0))


def test_a_single_event_that_is_refused_is_not_tried_twice() -> None:
    """The batch of one was the trial."""
    tried: list[Sequence[Event]] = []

    def too_long(batch: Sequence[Event]) -> None:
        tried.append(batch)
        raise EventRefused("too long")

    sink = Recording(too_long)
    events = sample_events(1)
    sink.send(events)
    (verdict,) = sink.verdicts(0.0)
    assert (Outcome.REFUSED, events, "too long") == (verdict.outcome, list(verdict.events), verdict.reason)
    assert 1 == len(tried)


def test_a_sink_without_store_says_so() -> None:
    """The author is told which class it is."""

    class Forgotten(BlockingSink):
        pass

    sink = Forgotten()
    sink.send(sample_events(1))
    with pytest.raises(NotImplementedError, match="Forgotten does not say how to store"):
        sink.verdicts(0.0)


@given(
    st.lists(st.sampled_from(["good", "bad"]), min_size=1, max_size=12),
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 5),
)
def test_each_event_has_one_verdict_and_order_holds(kinds: list[str], outages: list[bool], batch: int) -> None:
    """Whatever fails and when: every good event is stored, in order, and every bad one is refused, once."""
    events = sample_events(len(kinds))
    bad = {id(event) for event, kind in zip(events, kinds, strict=True) if kind == "bad"}
    failures = iter(outages)

    def fails(share: Sequence[Event]) -> None:
        if next(failures, False):
            raise SinkUnavailable("away")
        if any(id(event) in bad for event in share):
            raise EventRefused("bad")

    sink = Recording(fails)
    sink.batch_events = batch
    sink.send(events)
    owed = {id(event) for event in events}
    while owed:
        for verdict in sink.verdicts(0.0):
            for event in verdict.events:
                owed.remove(id(event))
                assert (id(event) in bad) == (verdict.outcome is Outcome.REFUSED) or verdict.outcome is Outcome.RETRY
            if verdict.outcome is Outcome.RETRY:
                assert verdict.events == events[-len(verdict.events) :]
                sink.send(verdict.events)
                owed.update(id(event) for event in verdict.events)
    stored = [event for share in sink.batches for event in share]
    assert [event for event in events if id(event) not in bad] == stored
