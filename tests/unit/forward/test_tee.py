"""Several sinks as one: an event is decided when all have decided."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.contract import Outcome, SinkUnavailable
from celery_event_bridge.forward.tee import Tee
from celery_event_bridge.testing import MemorySink, sample_events


def tee(count: int = 2) -> tuple[Tee, list[MemorySink]]:
    sinks = [MemorySink(at_once=False) for _ in range(count)]
    for position, sink in enumerate(sinks):
        sink.name = f"sink{position}"
    subject = Tee(sinks)
    subject.open()
    return subject, sinks


def test_its_name_is_theirs() -> None:
    """The log and the metrics name all of them."""
    assert "sink0+sink1" == tee()[0].name


def test_stored_when_all_have_stored() -> None:
    """One confirm of two is none."""
    subject, (first, second) = tee()
    events = sample_events(3)
    subject.send(events)
    first.decide(Outcome.STORED)
    assert [] == subject.verdicts(0.0)
    second.decide(Outcome.STORED, 2)
    (verdict,) = subject.verdicts(0.0)
    assert (Outcome.STORED, events[:2]) == (verdict.outcome, list(verdict.events))


def test_a_retry_goes_only_to_the_sink_that_lacks_it() -> None:
    """What one sink has stored it is not given again."""
    subject, (first, second) = tee()
    events = sample_events(2)
    subject.send(events)
    first.decide(Outcome.STORED)
    second.decide(Outcome.RETRY, reason="away")
    (verdict,) = subject.verdicts(0.0)
    assert (Outcome.RETRY, events, "away") == (verdict.outcome, list(verdict.events), verdict.reason)
    subject.send(events)
    assert ([], events) == (first.undecided, second.undecided)
    second.decide(Outcome.STORED)
    assert [Outcome.STORED] == [verdict.outcome for verdict in subject.verdicts(0.0)]
    assert (events, events) == (first.stored, second.stored)


def test_refused_by_one_after_the_others_have_decided() -> None:
    """The message is parked only when the other sink has its event."""
    subject, (first, second) = tee()
    events = sample_events(1)
    subject.send(events)
    first.decide(Outcome.REFUSED, reason="too long")
    second.decide(Outcome.RETRY)
    assert [Outcome.RETRY] == [verdict.outcome for verdict in subject.verdicts(0.0)]
    subject.send(events)
    assert [] == first.undecided
    second.decide(Outcome.STORED)
    (verdict,) = subject.verdicts(0.0)
    assert (Outcome.REFUSED, "sink0: too long") == (verdict.outcome, verdict.reason)


def test_it_is_available_when_all_are() -> None:
    """The reason names each sink that is away."""
    subject, (first, second) = tee()
    subject.available()
    first.away, second.away = "down", "full"
    with pytest.raises(SinkUnavailable, match="sink0: down; sink1: full"):
        subject.available()


def test_a_sink_that_is_open_is_not_opened_again() -> None:
    """When the second cannot be opened the first stays open, and is not connected twice."""
    first, second = MemorySink(), MemorySink()
    opened = []
    first.open = lambda: opened.append("first")  # type: ignore[method-assign]
    second.away = "down"
    subject = Tee([first, second])
    with pytest.raises(SinkUnavailable):
        subject.open()
    second.away = None
    subject.open()
    assert ["first"] == opened


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(list(Outcome)), st.integers(1, 4)), max_size=60))
def test_each_event_has_one_verdict_and_reaches_every_sink(steps: list[tuple[int, Outcome, int]]) -> None:
    """Whatever the order of outcomes: one verdict for each hand-over; no sink lacks what it did not refuse."""
    subject, sinks = tee(3)
    events = sample_events(5)
    owed = {id(event) for event in events}
    refused: dict[int, set[int]] = {}
    subject.send(events)

    def collect() -> None:
        for verdict in subject.verdicts(0.0):
            for event in verdict.events:
                owed.remove(id(event))
            if verdict.outcome is Outcome.RETRY:
                subject.send(verdict.events)
                owed.update(id(event) for event in verdict.events)

    for position, outcome, count in steps:
        if outcome is Outcome.REFUSED:
            refused.setdefault(position, set()).update(id(event) for event in sinks[position].undecided[:count])
        sinks[position].decide(outcome, count)
        collect()
    while owed:
        for sink in sinks:
            sink.decide(Outcome.STORED)
        collect()
    for position, sink in enumerate(sinks):
        assert {id(event) for event in events} - refused.get(position, set()) == {id(event) for event in sink.stored}
        assert len(sink.stored) == len({id(event) for event in sink.stored})


def test_sinks_are_given_events_in_their_order() -> None:
    """A retry too, whatever each of them lacks."""
    subject, (first, second) = tee()
    events = sample_events(6)
    subject.send(events)
    first.decide(Outcome.STORED, 3)
    first.decide(Outcome.RETRY)
    second.decide(Outcome.RETRY)
    (verdict,) = subject.verdicts(0.0)
    subject.send(verdict.events)
    assert ([events, events[3:]], [events, events]) == (first.sends, second.sends)


def test_a_sink_that_has_all_is_not_bothered() -> None:
    """It is not even asked to take nothing."""
    subject, (first, second) = tee()
    events = sample_events(2)
    subject.send(events)
    first.decide(Outcome.STORED)
    second.decide(Outcome.RETRY)
    subject.verdicts(0.0)
    subject.send(events)
    assert (1, 2) == (len(first.sends), len(second.sends))


def test_a_retry_waits_for_all_verdicts() -> None:
    """Handed over again before that, an event would be twice in one sink's hands."""
    subject, (first, second) = tee()
    subject.send(sample_events(1))
    first.decide(Outcome.RETRY)
    assert [] == subject.verdicts(0.0)
    second.decide(Outcome.STORED)
    assert [Outcome.RETRY] == [verdict.outcome for verdict in subject.verdicts(0.0)]


def test_outcomes_are_grouped_by_reason() -> None:
    """One verdict for each outcome and reason, together each event once."""
    subject, (first, second) = tee()
    events = sample_events(6)
    subject.send(events)
    first.decide(Outcome.STORED, 2)
    first.decide(Outcome.RETRY, 2, reason="away")
    first.decide(Outcome.REFUSED, 2, reason="long")
    second.decide(Outcome.STORED)
    found = {(verdict.outcome, verdict.reason): list(verdict.events) for verdict in subject.verdicts(0.0)}
    assert {
        (Outcome.STORED, ""): events[:2],
        (Outcome.RETRY, "away"): events[2:4],
        (Outcome.REFUSED, "sink0: long"): events[4:],
    } == found


def test_events_of_two_deliveries_are_two_events() -> None:
    """The same bytes, delivered again, are not taken for what is in hand already."""
    subject, (first, second) = tee()
    once, again = sample_events(1), sample_events(1)
    assert once[0].id == again[0].id
    subject.send(once)
    subject.send(again)
    for sink in (first, second):
        sink.decide(Outcome.STORED, 1)
    assert [once] == [list(verdict.events) for verdict in subject.verdicts(0.0)]
    for sink in (first, second):
        sink.decide(Outcome.STORED, 1)
    assert [again] == [list(verdict.events) for verdict in subject.verdicts(0.0)]


def test_after_a_close_events_can_be_handed_over_again() -> None:
    """What was undecided is nobody's, and all sinks are opened again."""
    subject, (first, second) = tee()
    events = sample_events(2)
    subject.send(events)
    first.decide(Outcome.STORED)
    assert [] == subject.verdicts(0.0)
    subject.close()
    opened: list[str] = []
    first.open = lambda: opened.append("first")  # type: ignore[method-assign]
    second.open = lambda: opened.append("second")  # type: ignore[method-assign]
    subject.open()
    assert ["first", "second"] == opened
    subject.send(events)
    second.decide(Outcome.STORED)
    first.decide(Outcome.STORED)
    decided = [event for verdict in subject.verdicts(0.0) for event in verdict.events]
    assert events == decided


def test_what_is_decided_is_forgotten() -> None:
    """A bridge that runs for a year holds no trace of what it has forwarded."""
    subject, sinks = tee()
    subject.send(sample_events(50))
    for sink in sinks:
        sink.decide(Outcome.STORED, 25)
        sink.decide(Outcome.REFUSED, 25)
    assert 2 == len(subject.verdicts(0.0))
    assert 0 == len(subject._states)


def test_a_sink_that_is_away_is_named_alone() -> None:
    """Those that are there are not."""
    subject, (_, second) = tee()
    second.away = "full"
    with pytest.raises(SinkUnavailable, match=r"\Asink1: full\Z"):
        subject.available()
