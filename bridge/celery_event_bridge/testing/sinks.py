"""Tests that every sink has to pass, and what they wait with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from celery_event_bridge.contract import Event, Outcome, Sink, SinkUnavailable, Verdict
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.testing.fakes import sample_events


class SinkContract:
    """Tests that every sink has to pass.

    Derive from it, and say how to make the sink and how to read back what it stored::

    class TestMine(SinkContract):
        @pytest.fixture
        def make_sink(self, server): return lambda: MySink(MySettings(url=server.url))

        def stored(self, sink): return [(id, type, source, subject, key, time, data, content_type), ...]
    """

    DEADLINE = 20.0
    """Seconds within which each verdict has to come."""
    keeps_key = True
    """True if the key can be read back."""
    keeps_time = True
    """True if the time can be read back to the microsecond; else `stored` gives None for it."""

    keeps_order = True
    """True if events are read back in the order in which they were handed over."""

    def outage(self) -> AbstractContextManager[None]:
        """Let the stream be away, within the context. Without it the test of an outage is skipped."""
        import pytest  # here: who only wants the fakes need not have it

        pytest.skip(f"{type(self).__name__} does not say how its stream goes away")

    def refused(self) -> Event:
        """Return an event that the sink never stores. Without it the test of a refusal is skipped."""
        import pytest  # here: who only wants the fakes need not have it

        pytest.skip(f"{type(self).__name__} does not say what its sink refuses")

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        """Return what a reader that uses nothing of the sink's finds, in order."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to read back")

    def test_stored_means_that_a_reader_finds_it(self, make_sink: Callable[[], Sink]) -> None:
        """Each event is there once, byte for byte, with its envelope, in order."""
        events = sample_events(300)
        sink = make_sink()
        sink.open()
        assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(sink, events, self.DEADLINE)}
        expected = [
            (
                *(e.id, e.type, e.source, e.subject, e.key if self.keeps_key else None),
                *(e.time if self.keeps_time else None, e.data, e.content_type),
            )
            for e in events
        ]
        assert expected == self.stored(sink)
        sink.close()

    def test_each_event_has_one_verdict(self, make_sink: Callable[[], Sink]) -> None:
        """Every event comes back exactly once, whatever the sizes of what is handed over."""
        events = sample_events(1000)
        sink = make_sink()
        sink.open()
        for first, last in ((0, 1), (1, 10), (10, 600), (600, 1000)):
            sink.send(events[first:last])
        decided = [event for verdict in await_verdicts(sink, len(events), self.DEADLINE) for event in verdict.events]
        assert sorted(map(id, events)) == sorted(map(id, decided))
        assert [] == list(sink.verdicts(0.0))
        sink.close()

    def test_what_was_stored_outlives_the_sink(self, make_sink: Callable[[], Sink]) -> None:
        """A second sink adds to what a first one stored."""
        events = sample_events(20)
        for share in (events[:10], events[10:]):
            sink = make_sink()
            sink.open()
            deliver(sink, share, self.DEADLINE)
            sink.close()
        sink = make_sink()
        assert [event.data for event in events] == [row[6] for row in self.stored(sink)]

    def test_it_says_when_it_is_available(self, make_sink: Callable[[], Sink]) -> None:
        """Asking stores nothing, and may be done again and again."""
        sink = make_sink()
        sink.open()
        for _ in range(3):
            await_available(sink, self.DEADLINE)
        assert [] == self.stored(sink)
        sink.close()

    def test_what_is_handed_over_in_pieces_keeps_its_order(self, make_sink: Callable[[], Sink]) -> None:
        """Events overtake none that were handed over before them, whether or not those were decided."""
        events = sample_events(400)
        sink = make_sink()
        sink.open()
        for first in range(0, len(events), 7):
            sink.send(events[first : first + 7])
        await_verdicts(sink, len(events), self.DEADLINE)
        found = [row[0] for row in self.stored(sink)]
        expected = [event.id for event in events]
        assert (expected if self.keeps_order else sorted(expected)) == (found if self.keeps_order else sorted(found))
        sink.close()

    def test_an_outage_is_told_and_nothing_counts_as_stored_that_is_not(self, make_sink: Callable[[], Sink]) -> None:
        """Events are tried again, by the sink or by who uses it, until they are stored; then all are there."""
        events = sample_events(50)
        sink = make_sink()
        sink.open()
        deliver(sink, events[:10], self.DEADLINE)
        told, pending, until = False, list[Event](), Deadline(self.DEADLINE)
        with self.outage():
            sink.send(events[10:30])
            while not told:
                assert not until.passed, f"no word of an outage within {self.DEADLINE} s"
                for verdict in sink.verdicts(0.05):
                    assert verdict.outcome is Outcome.RETRY, f"{verdict.outcome} in an outage"
                    assert verdict.reason
                    told, pending = True, [*pending, *verdict.events]
        await_available(sink, self.DEADLINE)
        pending += events[30:]
        while True:
            if pending:
                sink.send(pending)
                pending = []
            missing = {event.id for event in events} - {row[0] for row in self.stored(sink)}
            if not missing:
                break
            assert not until.passed, f"{len(missing)} events not stored {self.DEADLINE} s after an outage"
            for verdict in sink.verdicts(0.2):
                pending += verdict.events if verdict.outcome is Outcome.RETRY else []
        sink.close()

    def test_what_is_refused_is_told_and_holds_up_nobody(self, make_sink: Callable[[], Sink]) -> None:
        """Refusals have a reason, and the events before and after are stored."""
        bad, good = self.refused(), sample_events(4)
        sink = make_sink()
        sink.open()
        sink.send([*good[:2], bad, *good[2:]])
        decided: dict[str, list[Verdict]] = {}
        left, until = 5, Deadline(self.DEADLINE)
        while left:
            assert not until.passed, f"{left} events undecided after {self.DEADLINE} s"
            for verdict in sink.verdicts(0.05):
                if verdict.outcome is Outcome.RETRY:
                    sink.send(verdict.events)
                    continue
                left -= len(verdict.events)
                decided |= {event.id: [*decided.get(event.id, ()), verdict] for event in verdict.events}
        assert [Outcome.REFUSED] == [verdict.outcome for verdict in decided[bad.id]]
        assert decided[bad.id][0].reason
        assert sorted(event.id for event in good) == sorted(row[0] for row in self.stored(sink))
        sink.close()

    def test_close_may_be_called_at_any_time(self, make_sink: Callable[[], Sink]) -> None:
        """Closing never raises: unopened, with events in hand, or twice; and the sink can be opened again."""
        sink = make_sink()
        sink.close()
        sink.open()
        sink.send(sample_events(5))
        sink.close()
        sink.close()
        sink.open()
        await_available(sink, self.DEADLINE)
        sink.close()

    def test_nothing_owed_is_no_wait(self, make_sink: Callable[[], Sink]) -> None:
        """Asking with nothing in hand gives no verdicts, and does not block."""
        sink = make_sink()
        sink.open()
        assert [] == list(sink.verdicts(0.0))
        sink.close()


def await_available(sink: Sink, deadline: float) -> None:
    """Ask until it would take events, as a bridge does; raises its SinkUnavailable after `deadline` seconds."""
    until = Deadline(deadline)
    while True:
        try:
            return sink.available()
        except SinkUnavailable:
            if until.passed:
                raise
        time.sleep(0.05)


def deliver(sink: Sink, events: Sequence[Event], deadline: float) -> list[Verdict]:
    """Hand over the events and wait until all are decided."""
    sink.send(events)
    return await_verdicts(sink, len(events), deadline)


def await_verdicts(sink: Sink, count: int, deadline: float) -> list[Verdict]:
    """Verdicts on `count` events; fails if they do not come within `deadline` seconds."""
    until = Deadline(deadline)
    verdicts: list[Verdict] = []
    decided = 0
    while decided < count:
        assert not until.passed, f"{decided} of {count} events decided after {deadline} s"
        arrived = sink.verdicts(0.05)
        verdicts += arrived
        decided += sum(len(verdict.events) for verdict in arrived)
    return verdicts
