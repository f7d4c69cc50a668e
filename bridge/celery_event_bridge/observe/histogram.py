"""A Prometheus histogram that takes a batch of values at a time; a call for each event would cost too much."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Upper bounds of the buckets, from a round trip to an outage."""

FEW = 8
"""Values up to which each is looked for by itself; the bounds are looked for among more."""


class _Series:
    def __init__(self, bounds: int) -> None:
        self.counts = [0] * (bounds + 1)
        self.sum = 0.0


class Histogram(Collector):
    """Seconds, by at most one label."""

    def __init__(self, name: str, documentation: str, label: str | None = None) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = (label,) if label else ()
        self._series: dict[str, _Series] = {}

    def begin(self, label: str) -> None:
        """Show a series from now on, at 0."""
        self._series.setdefault(label, _Series(len(SECONDS)))

    def observe(self, seconds: Sequence[float], label: str = "", *, times: int = 1) -> None:
        """Count each of the values, `times` over. A negative one, from clocks that differ, counts as 0."""
        if not seconds:
            return
        series = self._series.get(label)
        if series is None:
            series = self._series[label] = _Series(len(SECONDS))
        if len(seconds) < FEW:
            for value in seconds:
                series.counts[bisect_left(SECONDS, value)] += times
                series.sum += max(0.0, value) * times
            return
        ordered = sorted(seconds)
        below = 0
        for position, bound in enumerate(SECONDS):
            upto = bisect_right(ordered, bound)
            series.counts[position] += (upto - below) * times
            below = upto
        series.counts[-1] += (len(ordered) - below) * times
        series.sum += max(0.0, sum(value for value in ordered if value > 0)) * times

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Return a family without series, by which the registry knows the name."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Yield the series so far, cumulative as Prometheus wants them."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        series: Mapping[str, _Series] = dict(self._series)
        if not self._labels and not series:
            series = {"": _Series(len(SECONDS))}
        for label, one in series.items():
            total = 0
            buckets = []
            for bound, count in zip((*map(str, SECONDS), "+Inf"), list(one.counts), strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric([label] if self._labels else [], buckets, one.sum)
        return [family]
