"""Another sink as a target: by its own protocol, as the relay speaks it, with every verdict heard."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from celery_event_bridge.contract import Event, Outcome, Retaining, Sink, SinkUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.target import Decided
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.outage import Outage

log = structlog.get_logger("celery_event_bridge")

WINDOW = 2000
WINDOW_BYTES = 16 * 1024 * 1024
"""Events, and bytes of their data, that may be undecided."""
IDLE_WAIT = 0.05
"""Seconds to wait at most while nothing is undecided."""


class SinkTarget:
    """See the protocol `celery_event_bridge.contract.target.Target`. Opens the sink when made."""

    received, returned = True, 0

    def __init__(self, sink: Sink, where: str, max_interval: float, patience: float, patience_to_open: float) -> None:
        """`where`: what to call it. `max_interval`: seconds between two attempts at most. `patience`: seconds without
        a verdict on what it holds, after which a sink is given up.

        Raises SinkUnavailable.
        """
        self._sink = sink
        self.where = where
        self._patience = patience
        self._outage = Outage(f"sink {sink.name}", max_interval)
        # An event is owned by its number, by which it goes out again.
        self._driver: Driver[int] = Driver(sink, self._outage, lambda _: False, ordered=True)
        self._bytes = 0
        self._decided: list[Decided] = []
        self._kept_from = 0
        self._open(patience_to_open)

    @property
    def owed(self) -> int:
        """Number of those without a verdict, or with one to try again."""
        return len(self._driver.owners)

    @property
    def full(self) -> bool:
        """Or while some are to be tried again: order holds."""
        return self.owed >= WINDOW or self._bytes >= WINDOW_BYTES or self._driver.retrying

    def put(self, number: int, event: Event) -> None:
        """Queue it: a sink stores many at once."""
        if event.time is not None and event.time < self._kept_from:
            self._warn_of_retention()
        if not self._driver.busy:
            self._driver.hand_over(time.monotonic())  # with nothing: what it waits for begins now
        self._driver.owners[event] = number
        self._driver.pending.append(event)
        self._bytes += len(event.data)

    def wait(self, timeout: float) -> None:
        """Hand over what may be, then hear verdicts."""
        self._driver.hand_over(time.monotonic())
        if self._driver.handed:
            self._settle(timeout)
        elif self._driver.waiting:
            time.sleep(max(0.0, min(timeout, self._outage.due - time.monotonic())))
        elif not self._decided:
            time.sleep(min(timeout, IDLE_WAIT))
        if self._driver.stuck_for(time.monotonic()) >= self._patience:
            raise SinkUnavailable(f"sink {self._sink.name}: {self._outage.reason or 'it has decided nothing'}")

    def take(self) -> Sequence[Decided]:
        """Return what is stored or refused."""
        decided, self._decided = self._decided, []
        return decided

    def close(self) -> None:
        """Close the sink."""
        self._driver.close()

    def _open(self, patience: float) -> None:
        deadline = Deadline(patience)
        while not self._driver.ask():
            if deadline.passed:
                self._driver.close()
                raise SinkUnavailable(f"sink {self._sink.name}: {self._outage.reason}")
            time.sleep(max(0.0, min(self._outage.due - time.monotonic(), deadline.left())))
        kept_for = self._sink.kept_for() if isinstance(self._sink, Retaining) else None
        if kept_for is not None:
            self._kept_from = round((time.time() - kept_for) * 1e6)

    def _settle(self, timeout: float) -> None:
        _, verdicts = self._driver.collect(timeout)
        for verdict in verdicts:
            refused = (verdict.reason or "for no reason that it told") if verdict.outcome is Outcome.REFUSED else None
            for event in verdict.events:
                self._decided.append(Decided(self._driver.owners.pop(event), refused))
                self._bytes -= len(event.data)

    def _warn_of_retention(self) -> None:
        self._kept_from = 0
        log.warning(
            "the sink removes events by their own time, and some of these are older than it keeps them: they may be "
            "gone within minutes; let it keep them for longer",
            sink=self.where,
        )
