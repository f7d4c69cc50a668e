"""Model of a sink that keeps an order: what is behind a failure goes back, and is not stored before it comes anew.

Its requests are pipelined. A connection, on which they arrive in order, is of no more use once one of them fails: the
stream takes none of those behind it, and the sink gives back all that it has not answered for.
"""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.contract import Event, Outcome, Verdict
from tests.simulation.contract.stream import GIVES_UP, ModelSink, Stream
from tests.simulation.process import Process

A_REQUEST = 50
"""Events of a request."""
AWHILE = 2.0
"""Seconds after which what is given back is told of, at most, where each request has a time of its own."""


class Pipeline:
    """Requests of a sink, in order."""

    def __init__(self) -> None:
        self.arrives_at = 0.0
        """Time when the last one arrives."""
        self.broken = False
        """True once the stream has not taken one: it takes none of those behind it."""
        self.given_up = False
        """True once the sink knows of a failure: nothing that is unanswered counts as stored."""


class OrderedSink(ModelSink):
    """See `celery_event_bridge.contract.sink.OrderedPlugin`. What befalls its requests is dealt to it by the cards."""

    keeps_order = True
    """False for one that is broken on purpose: the stream takes what is behind a failure."""

    def __init__(self, process: Process, stream: Stream, pace: float) -> None:
        """`pace`: seconds that a request takes at most, each way."""
        super().__init__(process, stream)
        self._pace = pace
        self._tells_at_once = process.world.chance(0.5)
        self._owed: dict[Event, None] = {}
        """Events without a verdict, in the order in which they were handed over."""
        self._pipeline = Pipeline()

    def open(self) -> None:
        super().open()
        self._pipeline = Pipeline()

    def send(self, events: Sequence[Event]) -> None:
        self._owed.update(dict.fromkeys(events))
        super().send(events)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        verdicts = [*super().verdicts(timeout)]
        for verdict in verdicts:
            for event in verdict.events:
                del self._owed[event]
        if self._pipeline.given_up and self._tells_at_once:
            verdicts += self._all_given_back()
        if self._pipeline.given_up and not self._owed:
            self._pipeline = Pipeline()  # whoever was told hands over in order from now on
        return verdicts

    def close(self) -> None:
        super().close()
        self._owed.clear()

    def _all_given_back(self) -> Sequence[Verdict]:
        """Give back whatever is owed, in groups that have no order, as where each has a reason of its own."""
        owed, random = [*self._owed], self._stream.world.random
        self._owed.clear()
        self._undecided.clear()
        groups = [owed[first : first + A_REQUEST] for first in range(0, len(owed), A_REQUEST)]
        random.shuffle(groups)
        return [Verdict(Outcome.RETRY, group, "given back") for group in groups]

    def _delay(self) -> float:
        return self._stream.slow + 0.0005 + self._pace * self._stream.world.random.random()

    def _dispatch(self, events: Sequence[Event]) -> None:
        world, pipeline = self._stream.world, self._pipeline
        for first in range(0, len(events), A_REQUEST):
            request = events[first : first + A_REQUEST]
            if pipeline.given_up:
                world.after(AWHILE * world.random.random(), self._fails, request, self._generation, pipeline)
                continue
            pipeline.arrives_at = max(pipeline.arrives_at, world.now + self._delay())
            world.at(pipeline.arrives_at, self._take, request, self._generation, pipeline)

    def _take(self, events: Sequence[Event], generation: int, pipeline: Pipeline) -> None:
        """Take a request at the stream. It is there, though its client may be gone."""
        world = self._stream.world
        if pipeline.broken and self.keeps_order:
            world.after(AWHILE * world.random.random(), self._fails, events, generation, pipeline)
            return
        if self._stream.away:
            pipeline.broken = True
            world.after(GIVES_UP * world.random.random(), self._fails, events, generation, pipeline)
            return
        if self.fail_batches:
            self.fail_batches -= 1
            pipeline.broken = True
            world.after(self._delay(), self._fails, events, generation, pipeline)
            return
        kept, rest = events, events[:0]
        if self.halve:
            self.halve -= 1
            pipeline.broken = True
            kept, rest = events[: len(events) // 2], events[len(events) // 2 :]
        stored = [event for event in kept if not self.is_refused(event)]
        for event in stored:
            self._stream.store(event)
        if self.lose_answers:
            self.lose_answers -= 1
            world.after(GIVES_UP * world.random.random(), self._fails, events, generation, pipeline)
            return
        delay = self._delay()
        if self.late:
            self.late -= 1
            delay = world.between(1.0, 60.0)
        world.after(delay, self._hears, Outcome.STORED, stored, generation, pipeline)
        if len(stored) < len(kept):
            refused = [event for event in kept if self.is_refused(event)]
            world.after(delay, self._hears, Outcome.REFUSED, refused, generation, pipeline)
        if rest:
            world.after(self._delay(), self._fails, rest, generation, pipeline)

    def _fails(self, events: Sequence[Event], generation: int, pipeline: Pipeline) -> None:
        """Know of a failure: whatever the stream says of those behind it is not listened to."""
        pipeline.given_up = True
        self._hears(Outcome.RETRY, events, generation, pipeline)

    def _hears(self, outcome: Outcome, events: Sequence[Event], generation: int, pipeline: Pipeline) -> None:
        if pipeline is self._pipeline:
            self._answer(Outcome.RETRY if pipeline.given_up else outcome, events, generation)
