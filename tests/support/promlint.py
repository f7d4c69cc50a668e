"""Complaints that `promtool check metrics` would have, for machines without promtool."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

ABBREVIATED = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
PREFIXES = "pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mebi|giga|gibi|tera|tebi|peta|pebi"
OTHER_UNITS = re.compile(rf"(?:{PREFIXES})(?:seconds|bytes)|minutes|hours|days|weeks|bits")
TYPES = {"counter", "gauge", "summary", "histogram", "gauge_histogram"}


def problems(text: str) -> list[str]:
    """All complaints about a page of /metrics, each with the metric's name."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = []
    for name, kind in kinds.items():
        family = families.get(name) or families[name.removesuffix("_total")]
        found += [f"{name}: {complaint}" for complaint in _of(name, kind, family)]
    return found


def _of(name: str, kind: str, family: Metric) -> Iterator[str]:
    labels = {label for sample in family.samples for label in sample.labels}
    words = name.lower().split("_")
    complaints = {
        "no help": not family.documentation,
        "a counter ends with _total": kind == "counter" and not name.endswith("_total"),
        "only a counter ends with _total": kind != "counter" and name.endswith("_total"),
        "a suffix of histograms": kind not in ("histogram", "summary") and words[-1] in ("bucket", "count", "sum"),
        "a label of histograms": kind != "histogram" and "le" in labels,
        "a label of summaries": kind != "summary" and "quantile" in labels,
        "its type in its name": any(f"_{word}_" in f"{name}_" for word in TYPES),
        "not snake_case": any(re.search(r"[a-z][A-Z]|:", each) for each in (name, *labels)),
        "an abbreviated unit": bool(ABBREVIATED.intersection(words[1:])),
        "a unit other than seconds or bytes": any(OTHER_UNITS.fullmatch(word) for word in words),
    }
    yield from (complaint for complaint, holds in complaints.items() if holds)
