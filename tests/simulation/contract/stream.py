"""Model of a stream, and a sink by the contract in front of it: it stores and loses the answer, is late, or is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, Verdict
from tests.simulation.messages import POISON
from tests.simulation.process import Process
from tests.simulation.scheduler import World

GIVES_UP = 4.0
"""Seconds after which a client gives up on an answer."""


class Stream:
    """Events that are stored, by id."""

    def __init__(self, world: World, stored: Callable[[str, bytes], None]) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        self.outages = 0
        """Outages that are not over."""
        self.slow = 0.0
        """Seconds that each answer takes longer."""
        self._stored = stored

    @property
    def away(self) -> bool:
        """Return whether it answers nobody."""
        return self.outages > 0

    def end_outage(self) -> None:
        """End one of several."""
        self.outages = max(0, self.outages - 1)

    def store(self, event: Event) -> None:
        """Store an event once more."""
        self.counts[event.id] += 1
        self._stored(event.id, event.data)


class Batch:
    """Events on their way."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events


class ModelSink:
    """See `celery_event_bridge.contract.sink.Sink`. What befalls its batches is dealt to it by the cards."""

    name = "model"

    def __init__(self, process: Process, stream: Stream) -> None:
        self._process = process
        self._stream = stream
        self._undecided: set[Event] = set()
        self._decided: set[Event] = set()
        self._verdicts: list[Verdict] = []
        self._open = False
        self._generation = 0
        self.lose_answers = 0
        """Batches whose answer is lost, though they are stored."""
        self.fail_batches = 0
        """Batches that are not stored, and said so."""
        self.halve = 0
        """Batches of which only the first half is stored."""
        self.late = 0
        """Batches that are stored, and answered much later."""

    def open(self) -> None:
        self.available()
        self._open = True

    def available(self) -> None:
        self._process.wait(self._delay())
        if self._stream.away:
            raise SinkUnavailable("the stream is away")

    def look(self) -> None:
        self._process.wait(self._delay())
        if self._stream.away:
            raise SinkUnavailable("the stream is away, says a look")

    def send(self, events: Sequence[Event]) -> None:
        assert events, "nothing to send"
        assert self._open, "not open"
        for event in events:
            assert event not in self._undecided, f"{event.id} was handed over again before its verdict"
            assert event not in self._decided, f"{event.id} was handed over again after its last verdict"
        self._undecided.update(events)
        self._dispatch(events)

    def _dispatch(self, events: Sequence[Event]) -> None:
        # What does not fit into one request is several, and they need not be answered in order.
        for first in range(0, len(events), 50):
            self._stream.world.after(self._delay(), self._arrive, events[first : first + 50], self._generation)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        if timeout and not self._verdicts:
            self._process.wait(timeout)
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def close(self) -> None:
        self._generation += 1
        self._open = False
        self._undecided.clear()
        self._verdicts.clear()

    @staticmethod
    def is_refused(event: Event) -> bool:
        """Return whether the stream never takes an event."""
        return POISON.encode() in event.data

    def heal(self) -> None:
        """Let nothing more befall its batches."""
        self.lose_answers = self.fail_batches = self.halve = self.late = 0

    def _delay(self) -> float:
        return self._stream.slow + 0.0005 + 0.004 * self._stream.world.random.random()

    def _arrive(self, events: Sequence[Event], generation: int) -> None:
        """Take a request at the server. It is there, though its client may be gone."""
        world = self._stream.world
        if self._stream.away:
            world.after(GIVES_UP * world.random.random(), self._answer, Outcome.RETRY, events, generation)
            return
        kept, refused = events, ()
        if any(map(self.is_refused, events)):
            refused = [event for event in events if self.is_refused(event)]
            kept = [event for event in events if not self.is_refused(event)]
        if self.fail_batches:
            self.fail_batches -= 1
            self._answer(Outcome.RETRY, events, generation)
            return
        rest: Sequence[Event] = ()
        if self.halve:
            self.halve -= 1
            kept, rest = kept[: len(kept) // 2], kept[len(kept) // 2 :]
        for event in kept:
            self._stream.store(event)
        outcome, delay = Outcome.STORED, self._delay()
        if self.lose_answers:
            self.lose_answers -= 1
            outcome, delay = Outcome.RETRY, GIVES_UP * world.random.random()
        elif self.late:
            self.late -= 1
            delay = world.between(1.0, 60.0)
        world.after(delay, self._answer, outcome, kept, generation)
        if refused:
            world.after(delay, self._answer, Outcome.REFUSED, refused, generation)
        if rest:
            world.after(delay, self._answer, Outcome.RETRY, rest, generation)

    def _answer(self, outcome: Outcome, events: Sequence[Event], generation: int) -> None:
        if events and generation == self._generation and not self._process.dead:
            self._undecided.difference_update(events)
            if outcome is not Outcome.RETRY:
                self._decided.update(events)
            self._verdicts.append(Verdict(outcome, events, "drawn"))
            self._process.wake()
