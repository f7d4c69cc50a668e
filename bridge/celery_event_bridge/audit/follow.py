"""`audit --follow`: a report every few seconds, as metrics, and a warning for each thing that is newly missing."""

from __future__ import annotations

import time

import structlog

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.audit.metrics import AuditMetrics
from celery_event_bridge.audit.report import Report, iso
from celery_event_bridge.observe.http import serve
from celery_event_bridge.observe.status import Status
from celery_event_bridge.reading.session import Events

INTERVAL = 5.0
"""Seconds between two reports at least."""
SHARE = 0.05
"""Share of the time that may be spent on reports."""

log = structlog.get_logger("celery_event_bridge")


class Follower:
    """Reads until stopped, and answers HTTP meanwhile."""

    def __init__(self, events: Events, auditor: Auditor, settle: int) -> None:
        self._events = events
        self._auditor = auditor
        self._settle = settle
        self._status = Status()
        self._status.broker_reason = None
        self._metrics = AuditMetrics()
        self._due = 0.0
        self._known: dict[tuple[str, str, str], int] = {}
        """Number of missing events that was told of, by account, event and worker."""

    def run(self, address: tuple[str, int] | None) -> None:
        """Raises OSError where the HTTP address cannot be had."""
        self._events.idle = self._turn
        self._turn()
        with serve(address, self._status, self._metrics) as bound:
            log.info("started", http=bound)
            for event in self._events:
                self._auditor.add(event.record)
                if self._events.in_hand == 0:
                    self._turn()
            self._status.stopping = True
        log.info("stopped")

    def _turn(self) -> None:
        now = time.monotonic()
        self._status.turned_at = now
        self._status.sink_reasons = {"stream": self._events.reason}
        if now < self._due:
            return
        self._auditor.tidy()
        self._auditor.skipped = self._events.missed()
        report = self._auditor.report(round(time.time() * 1e6), self._settle)
        self._metrics.report = report
        self._tell(report)
        self._due = time.monotonic() + max(INTERVAL, (time.monotonic() - now) / SHARE)

    def _tell(self, report: Report) -> None:
        last = {stretch.worker: stretch for stretch in report.stretches}
        for worker, count in report.missing_starts.items():
            if self._is_more("worker", "task-started", count, worker):
                between = (iso(last[worker].start), iso(last[worker].end))
                log.warning(
                    "task-started missing by the worker's own account", worker=worker, missing=count, last=between
                )
        for by, event, worker in [*self._known]:
            if by == "worker" and worker not in report.missing_starts:
                del self._known[by, event, worker]  # all has come late: whatever is missing from now on is new
        for event, count in (
            ("task-started", report.starts.events),
            ("task-received", report.received.events),
            ("end", report.missing_ends),
        ):
            if self._is_more("task", event, count):
                log.warning("events of tasks are missing", kind=event, missing=count)

    def _is_more(self, by: str, event: str, count: int, worker: str = "") -> bool:
        """Return whether more is missing than was told of, and count by how much."""
        more = count - self._known.get((by, event, worker), 0)
        self._known[by, event, worker] = count
        if more > 0:
            self._metrics.found_missing(by, event, more)
        return more > 0
