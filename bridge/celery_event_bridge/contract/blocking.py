"""A base class for a sink whose client simply blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from celery_event_bridge.contract.event import Event
from celery_event_bridge.contract.sink import EventRefused, Outcome, SinkUnavailable, Verdict


class BlockingSink:
    """A sink for a client that simply blocks: write `store`, and `open`, `available` and `close` if need be.

    `send` queues; each call of `verdicts` stores one batch, so that the relay can see to its connection
    between two batches. After a failure the whole queue is given back, so that order holds.
    """

    name = "blocking"
    batch_events = 2000
    """Events stored at a time at most."""
    batch_bytes = 4 * 1024 * 1024
    """Bytes of event data stored at a time at most; one larger event goes alone."""

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()

    def store(self, events: Sequence[Event]) -> None:
        """Store all of `events`, durably, within a few seconds.

        Raises SinkUnavailable if it cannot now, EventRefused if one of them can never be stored. After
        either, any of them may have been stored: they are handed over again.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to store")

    def open(self) -> None:
        """Connect: there is nothing to, unless overridden."""

    def available(self) -> None:
        """Always, unless overridden."""

    def close(self) -> None:
        """Forget what was queued. Call it when overriding."""
        self._queue.clear()

    def send(self, events: Sequence[Event]) -> None:
        """Queue the events."""
        self._queue.extend(events)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:  # noqa: ARG002 - it never waits for nothing
        """Store one batch of what is queued."""
        batch = self._next_batch()
        return self.decide(batch) if batch else ()

    def decide(self, batch: Sequence[Event]) -> Sequence[Verdict]:
        """Store a batch and say what has become of each event; after a refusal, one by one."""
        try:
            self.store(batch)
        except SinkUnavailable as exc:
            return (self.give_back(batch, str(exc)),)
        except EventRefused as exc:
            if len(batch) == 1:
                return (Verdict(Outcome.REFUSED, batch, str(exc)),)
            return self._decide_singly(batch)
        return (Verdict(Outcome.STORED, batch),)

    def give_back(self, undecided: Sequence[Event], reason: str) -> Verdict:
        """Return a verdict that gives back these events and all that is queued behind them."""
        events = [*undecided, *self._queue]
        self._queue.clear()
        return Verdict(Outcome.RETRY, events, reason)

    def _decide_singly(self, batch: Sequence[Event]) -> Sequence[Verdict]:
        verdicts: list[Verdict] = []
        for position, event in enumerate(batch):
            try:
                self.store((event,))
            except SinkUnavailable as exc:
                verdicts.append(self.give_back(batch[position:], str(exc)))
                break
            except EventRefused as exc:
                verdicts.append(Verdict(Outcome.REFUSED, (event,), str(exc)))
            else:
                verdicts.append(Verdict(Outcome.STORED, (event,)))
        return verdicts

    def _next_batch(self) -> list[Event]:
        queue = self._queue
        if len(queue) <= self.batch_events and sum([len(event.data) for event in queue]) <= self.batch_bytes:
            batch = list(queue)
            queue.clear()
            return batch
        batch, size = [], 0
        while queue and len(batch) < self.batch_events:
            size += len(queue[0].data)
            if batch and size > self.batch_bytes:
                break
            batch.append(queue.popleft())
        return batch
