"""The alert rules that users load: what they name is there from the first scrape, and the pages have the same ones."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.audit.metrics import FINDINGS, AuditMetrics
from celery_event_bridge.contract import REASONS, notices
from celery_event_bridge.contract.notices import KINDS
from celery_event_bridge.observe.metrics import TYPES, Metrics
from celery_event_bridge.observe.sink import ObservedSink
from celery_event_bridge.observe.status import Status
from celery_event_bridge.testing import MemorySink
from tests.support import alerts, promlint

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
ALL = [(file, rule) for file in alerts.files("rules") for rule in alerts.rules(file)]
PROMTOOL = shutil.which("promtool")
BRIDGE, AUDIT = (alerts.FOLDER / f"{name}.rules.yml" for name in ("bridge", "audit"))
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (\w+) \| ", re.MULTILINE)
NAMED = re.compile(r"\bCelery(?:Bridge|Events|Audit)[A-Z]\w+")


QUEUES = ("celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected")


def of_a_bridge(looked_at: Sequence[str] = ()) -> Metrics:
    """As `run` builds them, before anything is connected, or once it has looked at these queues."""
    status = Status()
    status.queue_messages = dict.fromkeys(looked_at, 0)
    metrics = Metrics(status)
    ObservedSink(MemorySink(), metrics, status)
    return metrics


def of_an_audit() -> AuditMetrics:
    """As `audit --follow` has them when it begins to serve them."""
    metrics = AuditMetrics()
    metrics.report = Auditor().report(2_000_000, 0)
    return metrics


def shown(metrics: Metrics | AuditMetrics) -> alerts.Series:
    return alerts.scraped(generate_latest(metrics.registry).decode())


@pytest.mark.parametrize(("file", "rule"), ALL, ids=[rule["alert"] for _, rule in ALL])
def test_each_alert_says_all_that_it_has_to(file: Path, rule: dict[str, Any]) -> None:
    """A name that is there once, how long, how bad, and what to do; labels that it names are left by its expression."""
    assert {"alert", "expr", "for", "labels", "annotations"} == set(rule)
    assert 1 == [other["alert"] for _, other in ALL].count(rule["alert"])
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert {"summary", "description"} == set(rule["annotations"])
    assert rule["expr"].count("(") == rule["expr"].count(")")
    labels = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    kept = set(re.findall(r"\w+", " ".join(re.findall(r" by \(([^)]*)\)", rule["expr"]))))
    if " by " not in rule["expr"]:
        ((name, matchers),) = alerts.selectors(rule["expr"])
        series = alerts.chosen(shown(of_a_bridge()) | shown(of_an_audit()), name, matchers)
        kept = {label for _, found in series for label, _ in found} | {"instance", "job"}
    assert labels <= kept


def test_what_the_alerts_name_is_there_from_the_first_scrape_at_0() -> None:
    """A series that begins at 1 has no increase: the first message that is parked would alert nobody."""
    assert [] == alerts.not_there(BRIDGE, shown(of_a_bridge()))
    assert [] == alerts.not_there(AUDIT, shown(of_an_audit()))


def test_every_labelled_series_of_a_bridge_starts_at_0() -> None:
    """Each reason, type, end, sink and kind has a series before anything is connected, and there is no other."""
    series = shown(of_a_bridge())
    labels: dict[str, set[tuple[str, ...]]] = {}
    for (name, found), value in series.items():
        if name.startswith("celery_bridge_") and found and "le" not in dict(found):
            labels.setdefault(name.removeprefix("celery_bridge_"), set()).add(tuple(text for _, text in sorted(found)))
            assert name.endswith("_info") or value == 0
    assert labels.pop("build_info")
    assert labels == {
        "messages_rejected_total": {(reason,) for reason in REASONS},
        "events_received_total": {(kind,) for kind in TYPES},
        "events_filtered_total": {(kind,) for kind in TYPES},
        "events_forwarded_total": {("memory", kind) for kind in TYPES},
        "sink_retries_total": {("memory",)},
        "sink_send_seconds_count": {("memory",)},
        "sink_send_seconds_sum": {("memory",)},
        "sink_available": {("memory",)},
        "reconnects_total": {("broker",), ("memory",)},
        "notices_total": {(kind,) for kind in KINDS},
    }


def test_every_labelled_series_of_an_audit_starts_at_0() -> None:
    """Each type, state, finding and event; a worker's from its first account on."""
    labels: dict[str, set[tuple[str, ...]]] = {}
    for (name, found), value in shown(of_an_audit()).items():
        if name.startswith("celery_bridge_audit_") and found and "quantile" not in dict(found):
            assert value == 0
            labels.setdefault(name.removeprefix("celery_bridge_audit_"), set()).add(
                tuple(text for _, text in sorted(found))
            )
    assert labels == {
        "events_total": {(kind,) for kind in TYPES},
        "found_missing_total": set(FINDINGS),
        "missing_events": {("task-received",), ("task-started",), ("end",)},
        "tasks_without_end": {("waiting",), ("running",), ("gone",), ("ended",)},
    }


def test_every_reason_that_the_product_gives_is_counted_from_the_start() -> None:
    """Each word by which a message is parked is one of those with a series, and is documented."""
    product = "".join(file.read_text() for file in (ROOT / "bridge").rglob("*.py"))
    given = set(re.findall(r'(?:Rejection|NotDecompressed)\(\s*"([^"]+)"', product))
    given |= set(re.findall(r'^\s+reason = "([a-z-]+)"$', product, re.MULTILINE))
    assert given == set(REASONS)
    page = (ROOT / "docs/how-to/parked-messages.md").read_text()
    assert list(REASONS) == re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)


def test_the_first_of_each_that_an_alert_counts_is_an_increment() -> None:
    """The series were there at 0, and no other one has come: so Prometheus sees the increase."""
    bridge, audit = of_a_bridge(), of_an_audit()
    before = shown(bridge) | shown(audit)
    for reason in REASONS:
        bridge.rejected(reason)
    for kind in KINDS:
        notices.tell(kind, "something has happened")
    bridge.received(1, 0, 0)
    for by, event in FINDINGS:
        audit.found_missing(by, event, 1)
    after = shown(bridge) | shown(audit)
    assert set(before) == set(after)
    counted = {name for _, rule in ALL for name in re.findall(r"increase\((celery_bridge_\w+)", rule["expr"])}
    for name in counted - {"celery_bridge_audit_gone_total", "celery_bridge_audit_events_total"}:
        chosen = [key for key in before if key[0] == name]
        assert [(0, 1)] * len(chosen) == [(before[key], after[key]) for key in chosen]


@pytest.mark.parametrize(("file", "rule"), ALL, ids=[rule["alert"] for _, rule in ALL])
def test_an_alert_on_a_counter_knows_of_what_came_before_the_first_scrape(file: Path, rule: dict[str, Any]) -> None:
    """A new replica may park before it is scraped at all: above 0, and not there an hour ago, alerts too."""
    for name in re.findall(r"increase\((celery_bridge_\w+(?:\{.*?\})?)\[\w+\]\)\) > 0", rule["expr"]):
        bare = name.partition("{")[0]
        assert re.search(rf"\({re.escape(name)} unless {bare}(?:\{{.*?\}})? offset 1", rule["expr"]), name


@pytest.mark.parametrize("file", alerts.files("rules"), ids=lambda file: file.name)
def test_each_alert_has_a_test_of_promtools_that_agrees_with_it(file: Path) -> None:
    """It fires and it is silent, with the labels and the text of the rule."""
    by_name = {rule["alert"]: rule for rule in alerts.rules(file)}
    tests = alerts.load(file.with_name(file.name.replace(".rules.", ".test.")))
    assert [file.name] == tests["rule_files"]
    outcomes: dict[str, set[bool]] = {}
    for case in [case for test in tests["tests"] for case in test["alert_rule_test"]]:
        rule = by_name[case["alertname"]]
        outcomes.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
        for expected in case["exp_alerts"]:
            assert rule["labels"].items() <= expected["exp_labels"].items()
            assert expected["exp_annotations"] == alerts.annotations(rule, expected["exp_labels"])
    assert outcomes == {name: {True, False} for name in by_name}


@pytest.mark.parametrize("file", [BRIDGE, AUDIT], ids=lambda file: file.name)
def test_the_series_of_promtools_tests_are_the_products(file: Path) -> None:
    """A test on a series that nobody shows would prove nothing of the alert."""
    series = shown(of_a_bridge(QUEUES)) | shown(of_an_audit())
    tests = alerts.load(file.with_name(file.name.replace(".rules.", ".test.")))["tests"]
    for given in [given for test in tests for given in test["input_series"]]:
        ((name, matchers),) = alerts.selectors(given["series"])
        labels = {label for found, labels in series if found == name for label, _ in labels}
        assert {*labels, "instance", "job"} == set(matchers)
        for ours in ("instance", "job", "sink", "version", "python"):  # they are of whoever runs it
            matchers.pop(ours, None)
        assert alerts.chosen(series, name, matchers), given["series"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_agrees() -> None:
    """It takes the rules and the metrics, and its tests of the rules pass."""
    assert PROMTOOL is not None
    for kind, files in (("check", alerts.files("rules")), ("test", alerts.files("test"))):
        done = subprocess.run([PROMTOOL, kind, "rules", *files], capture_output=True, text=True, timeout=60)
        assert 0 == done.returncode, done.stdout + done.stderr
    for metrics in (of_a_bridge(), of_an_audit()):
        page = generate_latest(metrics.registry)
        found = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True, timeout=60)
        assert (0, b"") == (found.returncode, found.stdout + found.stderr)


@pytest.mark.parametrize("metrics", [of_a_bridge, of_an_audit])
def test_the_metrics_are_named_as_prometheus_wants_them(metrics: Any) -> None:
    """What `promtool check metrics` complains of: help, units, suffixes, labels that belong to other kinds."""
    assert [] == promlint.problems(generate_latest(metrics().registry).decode())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# TYPE a_seconds gauge\na_seconds 1\n", "no help"),
        ("# HELP a x\n# TYPE a counter\na 1\n", "a counter ends with _total"),
        ("# HELP a_total x\n# TYPE a_total gauge\na_total 1\n", "only a counter ends with _total"),
        ("# HELP a_count x\n# TYPE a_count gauge\na_count 1\n", "a suffix of histograms"),
        ('# HELP a x\n# TYPE a gauge\na{quantile="0.5"} 1\n', "a label of summaries"),
        ('# HELP a x\n# TYPE a gauge\na{le="0.5"} 1\n', "a label of histograms"),
        ("# HELP a_gauge x\n# TYPE a_gauge gauge\na_gauge 1\n", "its type in its name"),
        ("# HELP aB x\n# TYPE aB gauge\naB 1\n", "not snake_case"),
        ("# HELP a_ms x\n# TYPE a_ms gauge\na_ms 1\n", "an abbreviated unit"),
        ("# HELP a_milliseconds x\n# TYPE a_milliseconds gauge\na_milliseconds 1\n", "a unit other than seconds"),
        ("# HELP a_minutes x\n# TYPE a_minutes gauge\na_minutes 1\n", "a unit other than seconds"),
    ],
)
def test_names_that_prometheus_does_not_want_are_noticed(text: str, complaint: str) -> None:
    """Each kind of complaint, so that the absence of any says something."""
    assert complaint in " ".join(promlint.problems(text))


def test_the_page_on_alerts_has_those_of_the_files() -> None:
    """Each with its time and its severity, in the order of the files, and no other."""
    page = (ROOT / "docs/how-to/alerts.md").read_text()
    wanted = [(rule["alert"], rule["for"], rule["labels"]["severity"]) for _, rule in ALL]
    assert sorted(wanted) == sorted(ROW.findall(page))
    for file in alerts.files("rules"):
        assert f"(../alerts/{file.name})" in page


def test_no_page_names_an_alert_that_is_in_no_file() -> None:
    """Nor shows an expression of its own, which nothing would test."""
    names = {rule["alert"] for _, rule in ALL}
    for page in PAGES:
        text = page.read_text()
        assert set(NAMED.findall(text)) <= names, page
        assert not re.search(r"^\s*-? ?(?:alert|expr):", text, re.MULTILINE), page
        assert not re.search(r"(?:increase|delta|rate)\(celery_bridge", text), page
