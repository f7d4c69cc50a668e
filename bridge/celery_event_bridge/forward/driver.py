"""A sink's way, written once: hand over, collect verdicts, put back what is to be tried again, know of an outage.

What holds between two calls, and why:

- An event is with the sink, or pending, or decided, and never two of these: a sink that was handed an event twice could
  not say which of the two its verdict is about.
- What is to be tried again goes ahead of what is new, in its order: a stream keeps the order of a first attempt.
- An event whose owner has been released meanwhile is dropped when its verdict comes: the broker delivers it again.
- Only a verdict or an answer ends an outage, never the passing of time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from celery_event_bridge.contract import LOOK_INTERVAL, Event, Outcome, Sink, SinkUnavailable, Verdict, Watcher
from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.forward.outage import Outage

OwnerT = TypeVar("OwnerT")
"""Object that an event came in, and that is settled once it is decided."""


class Driver(Generic[OwnerT]):
    """Drives one sink from one thread."""

    def __init__(
        self,
        sink: Sink,
        outage: Outage,
        released: Callable[[OwnerT], bool],
        clock: Clock = time,
        *,
        ordered: bool = False,
    ) -> None:
        """Begin; `released` tells whether an owner is out of hand, so that its events are dropped.

        With `ordered` an event never overtakes one that is to be tried again: the verdicts on all that was handed over
        are waited for first, and what comes back goes out again in its first order.
        """
        self._sink = sink
        self._clock = clock
        self.outage = outage
        self._released = released
        self.ordered = ordered
        self.owners: dict[Event, OwnerT] = {}
        """Owners of the events that are pending or with the sink, in the order in which these came."""
        self.pending: deque[Event] = deque()
        """New events to hand over, in order. Who adds one adds its owner as well."""
        self._again: list[Event] = []
        """Events that are to be tried again, in the order in which they came back."""
        self._doubted: set[Event] = set()
        """Events that came back, and are not decided since: what another stream of the sink stores ends no outage."""
        self.handed = 0
        """Events that the sink owes a verdict on."""
        self._opened = False
        self._progress_at = self._clock.monotonic()
        """Time when the sink last decided something, or had nothing to decide."""
        self._look_due = 0.0
        self._distrusted = False
        """True if the last look at the sink found that nothing would be stored, or kept."""

    @property
    def busy(self) -> bool:
        """Return whether any event is undecided."""
        return bool(self.handed or self.waiting)

    @property
    def waiting(self) -> bool:
        """Return whether any event is to be handed over."""
        return bool(self.pending or self._again)

    @property
    def retrying(self) -> bool:
        """Return whether any event is to be tried again."""
        return bool(self._again)

    def ask(self) -> bool:
        """Open the sink if it is not open, and return whether it would store now; to be called with nothing in hand."""
        try:
            if not self._opened:
                self._sink.open()
                self._opened = True
            self._sink.available()
        except SinkUnavailable as exc:
            self.outage.failed(str(exc))
            return False
        self.outage.over()
        self._progress_at = self._clock.monotonic()
        self._look_due = 0.0
        return True

    def look(self, now: float) -> None:
        """Let the sink look again, when it is time, at what it relies on and others may have changed."""
        if now < self._look_due or not isinstance(self._sink, Watcher):
            return
        self._look_due = now + LOOK_INTERVAL
        try:
            self._sink.look()
        except SinkUnavailable as exc:
            self._distrusted = True
            self.outage.failed(str(exc))
            return
        if self._distrusted:
            self._distrusted = False
            self.outage.over()

    def stuck_for(self, now: float) -> float:
        """Return the seconds for which the sink has decided nothing of what it was given."""
        return now - self._progress_at if self.busy else 0.0

    def owes_nothing(self, now: float) -> None:
        """Take note that no owner is in hand: verdicts that are out still are on what was released."""
        self._progress_at = now

    def hand_over(self, now: float) -> None:
        """Hand over what is pending, unless an outage says when. To be called in each turn, also with nothing."""
        if not self.busy:
            self._progress_at = now  # it could decide nothing
        if not self.waiting or now < self.outage.due or (self.ordered and self._again and self.handed):
            return
        if not self.handed and self.outage.reason is None:
            self._progress_at = now
        if self._again and self.ordered:
            back, self._again = set(self._again), []
            events = [event for event in self.owners if event in back]
        else:
            events, self.pending = list(self.pending), deque()
            if self._again:
                events, self._again = [*self._again, *events], []
        self.handed += len(events)
        self._sink.send(events)

    def collect(self, timeout: float = 0.0) -> tuple[bool, Sequence[Verdict]]:
        """Return whether the sink has said anything, for up to `timeout` seconds, and its final verdicts.

        What is to be tried again is handed over again, when it is time.
        """
        if not self.handed:
            return False, ()
        verdicts = self._sink.verdicts(timeout)
        final: list[Verdict] = []
        failure: str | None = None
        ends = not self._doubted
        for verdict in verdicts:
            self.handed -= len(verdict.events)
            if self._doubted:
                ends = ends or (verdict.outcome is not Outcome.RETRY and not self._doubted.isdisjoint(verdict.events))
                self._doubted.difference_update(verdict.events)
            if verdict.outcome is Outcome.RETRY:
                self._again += (kept := [event for event in verdict.events if self._is_kept(event)])
                self._doubted.update(kept)
                if kept or not verdict.events:  # of what went back to the broker long ago it is no news
                    failure = verdict.reason
            else:
                final.append(verdict)
        if final:
            self._progress_at = self._clock.monotonic()
        if failure is not None:
            self.outage.failed(failure)
        elif verdicts and not self.waiting and (ends or not self._doubted):
            self.outage.over()
        return bool(verdicts), final

    def forget(self) -> None:
        """Drop what is pending; late verdicts on what the sink has will mean nothing to their owners."""
        for event in (*self._again, *self.pending):
            self.owners.pop(event, None)
        self.pending.clear()
        self._again.clear()
        self._doubted.clear()

    def close(self) -> None:
        """Close the sink. Never raises."""
        self._sink.close()

    def _is_kept(self, event: Event) -> bool:
        """Return whether its owner is in hand still; if not, the event is dropped."""
        if not self._released(self.owners[event]):
            return True
        del self.owners[event]
        return False
