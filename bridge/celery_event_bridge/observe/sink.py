"""A sink that counts: what it was given, what became of it, how long that took, and whether it is there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from celery_event_bridge.contract import (
    Advisor,
    Divided,
    Event,
    Outcome,
    Sink,
    SinkUnavailable,
    Verdict,
    Watcher,
    notices,
)

if TYPE_CHECKING:
    from celery_event_bridge.observe.metrics import Metrics
    from celery_event_bridge.observe.status import Status

ADVICE_INTERVAL = 60.0
"""Seconds between two questions for a sink's advice."""
ADVICE_SAID_EVERY = 86_400.0
"""Seconds between two lines with the same advice."""


class ObservedSink:
    """Passes everything on to `sink`."""

    def __init__(
        self, sink: Sink, metrics: Metrics, status: Status, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sink = sink
        self._divided = sink if isinstance(sink, Divided) else None  # asked once: it takes as long as an event
        self._clock = clock
        self._metrics = metrics
        self._status = status
        self._handed: deque[tuple[float, int]] = deque()
        """Time and number of events, in the order of hand-over; which verdict answers which is not followed."""
        self.name = sink.name
        status.sink_reasons[self.name] = "not tried yet"
        metrics.begin(self.name)
        self._was_available = False
        self._advice_due = 0.0
        self._advised: set[str] = set()
        """Lines that it advised when it was last asked."""
        self._made = self._makings()
        self._distrusted = False
        """True if the last look found that nothing would be stored, or kept."""

    def open(self) -> None:
        """Connect, which says nothing of storing yet. What it advises is asked for anew: the stream may be another."""
        self._advice_due = 0.0
        self._try(self._sink.open)

    def send(self, events: Sequence[Event]) -> None:
        """Hand over."""
        self._handed.append((self._clock(), len(events)))
        self._sink.send(events)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Pass on and count."""
        verdicts = self._sink.verdicts(timeout)
        now = self._clock()
        for verdict in verdicts:
            self._metrics.sent(self.name, now - self._handed_at(len(verdict.events), now), len(verdict.events))
            if verdict.outcome is Outcome.STORED:
                self._metrics.forwarded(self.name, verdict.events)
                self._set_available()
            elif verdict.outcome is Outcome.RETRY:
                self._metrics.retried(self.name, len(verdict.events))
                self._status.sink_reasons[self.name] = verdict.reason or "it gave events back"
        return verdicts

    def available(self) -> None:
        """Ask."""
        self._try(self._sink.available)
        self._set_available()

    def look(self) -> None:
        """Look again at what the sink relies on; say what it advises, once a minute."""
        try:
            if isinstance(self._sink, Watcher):
                self._sink.look()
            self._advise()
        except SinkUnavailable as exc:
            self._distrusted = True
            self._status.sink_reasons[self.name] = str(exc)
            raise
        # A look that is content ends no outage but one that a look has found.
        if self._distrusted or self._troubles():
            self._set_available()

    def _advise(self) -> None:
        now, made = self._clock(), self._makings()
        if not isinstance(self._sink, Advisor) or (now < self._advice_due and made == self._made):
            return
        findings = self._sink.advice()
        # Of a stream that was made anew it is said again: it is another one.
        every = ADVICE_SAID_EVERY if made == self._made else 0.0
        self._advice_due, self._made = now + ADVICE_INTERVAL, made
        advised = [f"sink {self.name}: {finding.text}" for finding in findings if finding.verdict != "ok"]
        for text in advised:
            notices.tell("stream-advice", text, subject=text, every=every)
        for text in self._advised - {*advised}:
            notices.over("stream-advice", f"no longer so: {text}", subject=text)
        self._advised = {*advised}

    @staticmethod
    def _makings() -> int:
        """Return how often a stream was made, or replaced, in this process."""
        counts = notices.NOTICES.counts()
        return counts["stream-made"] + counts["stream-replaced"]

    def close(self) -> None:
        """Release."""
        self._handed.clear()
        self._sink.close()

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except SinkUnavailable as exc:
            self._status.sink_reasons[self.name] = str(exc)
            raise

    def _set_available(self) -> None:
        self._distrusted = False
        if troubles := self._troubles():
            self._distrusted, self._status.sink_reasons[self.name] = True, troubles
            return
        if self._status.sink_reasons[self.name] is None:
            return
        self._status.sink_reasons[self.name] = None
        if self._was_available:
            self._metrics.reconnected(self.name)
        self._was_available = True

    def _troubles(self) -> str:
        """Return why some of its streams store nothing, while others do."""
        return "; ".join(self._divided.troubles.values()) if self._divided is not None else ""

    def _handed_at(self, decided: int, now: float) -> float:
        """Return when the oldest of the undecided was handed over, and take note that so many are decided."""
        oldest = self._handed[0][0] if self._handed else now
        while decided and self._handed:
            at, count = self._handed.popleft()
            if count > decided:
                self._handed.appendleft((at, count - decided))
                break
            decided -= count
        return oldest
