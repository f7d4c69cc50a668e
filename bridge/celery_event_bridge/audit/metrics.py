"""The audit's figures as Prometheus metrics. They are those of its last report, read when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from celery_event_bridge.observe.metrics import TYPES, type_label

if TYPE_CHECKING:
    from celery_event_bridge.audit.report import Report

P = "celery_bridge_audit_"
QUANTILES = (50.0, 90.0, 99.0, 99.9)
STATES = ("waiting", "running", "gone", "ended")
FINDINGS = (("worker", "task-started"), ("task", "task-received"), ("task", "task-started"), ("task", "end"))
"""Labels of what is found missing: by whose account, and which event."""


class AuditMetrics(Collector):
    """Has the registry, and the report that is shown."""

    def __init__(self) -> None:
        self.report: Report | None = None
        """Assigned whole by the thread that reads."""
        self._found: Counter[tuple[str, ...]] = Counter(dict.fromkeys(FINDINGS, 0))
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def found_missing(self, by: str, event: str, count: int) -> None:
        """Count what is newly found missing; it stays counted where the event comes late."""
        self._found[by, event] += count

    def describe(self) -> Iterable[Metric]:
        """Describe nothing before the first report."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the figures of the last report."""
        report = self.report
        if report is None:
            return
        yield _gauge("judged_until_timestamp_seconds", "What was stored later is not judged", report.horizon / 1e6)
        yield _counters(
            "events", "Events read", ("type",), {(kind,): count for kind, count in _by_type(report).items()}
        )
        yield _counters("found_missing", "Events that were found missing", ("by", "event"), self._found)
        missing = GaugeMetricFamily(
            P + "missing_starts", "task-started missing by the worker's own account", labels=["worker"]
        )
        for worker, count in (dict.fromkeys(report.accounted, 0) | dict(report.missing_starts)).items():
            missing.add_metric([worker], count)
        yield missing
        lacking = GaugeMetricFamily(
            P + "missing_events", "Events missing of tasks, by what is missing", labels=["event"]
        )
        lacking.add_metric(["task-received"], report.received.events)
        lacking.add_metric(["task-started"], report.starts.events)
        lacking.add_metric(["end"], report.missing_ends)
        yield lacking
        yield from _tasks(report)
        yield _counter("gone", "Records that were gone from the stream before they were read", report.skipped)
        yield _counter("duplicates", "Events that were stored twice", report.duplicates)
        inverted = sum(one.events for one in report.inversions.values())
        yield _counter("inversions", "Events after a later one of their process", inverted)
        yield _counter("undecodable", "Records that cannot be decoded", report.undecodable)
        yield _delays(report)


def _tasks(report: Report) -> Iterable[Metric]:
    states = dict.fromkeys(STATES, 0)
    for one in report.open:
        states[one.state] += 1
    open_tasks = GaugeMetricFamily(P + "tasks_without_end", "Tasks without an end, by their state", labels=["state"])
    for state, count in states.items():
        open_tasks.add_metric([state], count)
    yield open_tasks
    oldest = min((one.since for one in report.open if one.state == "running"), default=None)
    seconds = 0.0 if oldest is None else max(0.0, (report.until - oldest) / 1e6)
    yield _gauge("oldest_running_seconds", "For how long the oldest running task has been without an end", seconds)


def _delays(report: Report) -> Metric:
    delays = report.delays
    family = SummaryMetricFamily(
        P + "delay_seconds",
        "From an event's own time to its storage",
        count_value=delays.count,
        sum_value=delays.total / 1e6,
    )
    for percent in QUANTILES:
        family.add_sample(family.name, {"quantile": f"{percent / 100:g}"}, delays.percentile(percent))
    return family


def _by_type(report: Report) -> dict[str, int]:
    found = dict.fromkeys(TYPES, 0)
    for kind, count in report.types().items():
        found[type_label(kind)] += count
    return found


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(P + name, documentation, value=float(value))


def _counter(name: str, documentation: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(P + name, documentation, value=float(value))


def _counters(
    name: str, documentation: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(P + name, documentation, labels=labels)
    for key, count in values.items():
        family.add_metric(key, count)
    return family
