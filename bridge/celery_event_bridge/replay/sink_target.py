"""Another sink as a target: by its own protocol, as the relay speaks it, with every verdict heard."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import structlog

from celery_event_bridge.contract import Event, Outcome, Retaining, Sink, SinkUnavailable
from celery_event_bridge.forward.outage import Outage
from celery_event_bridge.replay.target import Decided

log = structlog.get_logger("celery_event_bridge")

WINDOW = 2000
WINDOW_BYTES = 16 * 1024 * 1024
"""Events, and bytes of their data, that may be undecided."""


class SinkTarget:
    """See the protocol `celery_event_bridge.replay.target.Target`. Opens the sink when made."""

    received = True

    def __init__(self, sink: Sink, where: str, max_interval: float, patience: float, patience_to_open: float) -> None:
        """`where`: what to call it. `max_interval`: seconds between two attempts at most. `patience`: seconds without
        a verdict on what it holds, after which a sink is given up.

        Raises SinkUnavailable.
        """
        self._sink = sink
        self.where = where
        self._patience = patience
        self._outage = Outage(f"sink {sink.name}", max_interval)
        self._fresh: deque[Event] = deque()
        self._again: list[Event] = []
        """Given back, to be handed over before anything that is fresh."""
        self._handed = 0
        self._numbers: dict[Event, int] = {}
        """What is undecided."""
        self._bytes = 0
        self._decided: list[Decided] = []
        self._progress_at = time.monotonic()
        self._kept_from = 0
        self._open(patience_to_open)

    @property
    def owed(self) -> int:
        """Number of those without a verdict, or with one to try again."""
        return len(self._numbers)

    @property
    def full(self) -> bool:
        """Or while some are to be tried again: order holds."""
        return len(self._numbers) >= WINDOW or self._bytes >= WINDOW_BYTES or bool(self._again)

    def put(self, number: int, event: Event) -> None:
        """Queue it: a sink stores many at once."""
        if not self._numbers:
            self._progress_at = time.monotonic()
        if event.time is not None and event.time < self._kept_from:
            self._warn_of_retention()
        self._numbers[event] = number
        self._bytes += len(event.data)
        self._fresh.append(event)

    def wait(self, timeout: float) -> None:
        """Hand over what may be, then hear verdicts."""
        now = time.monotonic()
        if not self._handed and self._again and now < self._outage.due:
            time.sleep(min(timeout, self._outage.due - now))
        else:
            self._hand_over()
        self._hear(timeout if self._handed else 0.0)
        if not self._numbers:
            self._progress_at = time.monotonic()
            if timeout and not self._decided:
                time.sleep(min(timeout, 0.05))
        elif time.monotonic() - self._progress_at >= self._patience:
            raise SinkUnavailable(f"sink {self._sink.name}: {self._outage.reason or 'it has decided nothing'}")

    def take(self) -> Sequence[Decided]:
        """Return what is stored or refused."""
        decided, self._decided = self._decided, []
        return decided

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()

    def _open(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                self._sink.open()
                self._sink.available()
                break
            except SinkUnavailable as exc:
                if time.monotonic() >= deadline:
                    self._sink.close()
                    raise SinkUnavailable(f"sink {self._sink.name}: {exc}") from exc
                self._outage.failed(str(exc))
                time.sleep(max(0.0, min(self._outage.due, deadline) - time.monotonic()))
        self._outage.over()
        kept_for = self._sink.kept_for() if isinstance(self._sink, Retaining) else None
        if kept_for is not None:
            self._kept_from = round((time.time() - kept_for) * 1e6)

    def _hand_over(self) -> None:
        if self._handed and self._again:
            return  # the verdicts on the rest first: what comes back goes out again in order
        if self._again:
            events = sorted(self._again, key=lambda event: self._numbers[event])
            self._again = []
        else:
            events = list(self._fresh)
            self._fresh.clear()
        if events:
            self._handed += len(events)
            self._sink.send(events)

    def _hear(self, timeout: float) -> None:
        if not self._handed:
            return
        failure: str | None = None
        verdicts = self._sink.verdicts(timeout)
        for verdict in verdicts:
            self._handed -= len(verdict.events)
            if verdict.outcome is Outcome.RETRY:
                self._again += verdict.events
                failure = verdict.reason
                continue
            self._progress_at = time.monotonic()
            refused = (verdict.reason or "for no reason that it told") if verdict.outcome is Outcome.REFUSED else None
            for event in verdict.events:
                self._decided.append(Decided(self._numbers.pop(event), refused))
                self._bytes -= len(event.data)
        if failure is not None:
            self._outage.failed(failure)
        elif verdicts and not self._again:
            self._outage.over()

    def _warn_of_retention(self) -> None:
        self._kept_from = 0
        log.warning(
            "the sink removes events by their own time, and some of these are older than it keeps them: they may be "
            "gone within minutes; let it keep them for longer",
            sink=self.where,
        )
