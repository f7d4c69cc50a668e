"""What is not documented does not count: settings, metrics, links and decisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from celery_event_bridge.audit.auditor import Auditor
from celery_event_bridge.audit.metrics import AuditMetrics
from celery_event_bridge.cli import COMMANDS
from celery_event_bridge.config.plugins import broker_settings, installed, load
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.variables import all_variables, sink_prefix
from celery_event_bridge.contract.notices import KINDS
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from tests.broken.mutations import MUTATIONS, Mutation
from tests.faults.campaign import deck

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


def test_every_setting_is_documented() -> None:
    """Each variable of the core and of every installed sink has a row of its own in the reference."""
    page = (ROOT / "docs/reference/settings.md").read_text()
    assert [] == [name for name in all_variables() if f"| `{name}` |" not in page]


def test_nothing_but_settings_is_documented_as_one() -> None:
    """Each row of the reference is a variable that exists."""
    page = (ROOT / "docs/reference/settings.md").read_text()
    assert set(re.findall(r"^\| `(BRIDGE_\w+)` \|", page, re.MULTILINE)) == set(all_variables())


def test_nothing_is_installed_by_a_name_that_is_not_ours() -> None:
    """The distribution is in no index, where anybody may take its name: pages and messages name a clone or a wheel."""
    product = [file for folder in ("bridge", "sinks") for file in (ROOT / folder).rglob("*.py")]
    named = re.compile(r"install[^\n]*['\" ]celery-event-bridge\b")
    assert [] == [file.name for file in [*PAGES, *product] if named.search(file.read_text())]


def test_every_notice_is_documented() -> None:
    """Each kind has its row, with what it means, and none is there that is never told of."""
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert [] == [kind for kind, meaning in KINDS.items() if f"| `{kind}` | {meaning} |" not in page]
    product = "".join(file.read_text() for folder in ("bridge", "sinks") for file in (ROOT / folder).rglob("*.py"))
    assert [] == [kind for kind in KINDS if product.count(f'"{kind}"') < 2]


def test_every_metric_is_documented() -> None:
    """Each metric of ours is in the reference, with its labels."""
    page = (ROOT / "docs/reference/metrics.md").read_text()
    documented = set(re.findall(r"`(celery_bridge_\w+)", page))
    status = Status()
    status.sink_reasons, status.queue_messages = {"redis": None}, {"celeryev.bridge": 1}
    ours = set()
    for family in Metrics(status).registry.collect():
        if family.name.startswith("celery_bridge_"):
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            ours.add(family.name + suffix)
    assert ours == documented


def test_every_metric_of_the_audit_is_documented() -> None:
    """And nothing else is said to be one."""
    page = (ROOT / "docs/reference/audit.md").read_text()
    metrics = AuditMetrics()
    metrics.report = Auditor().report(2_000_000, 0)
    suffix = {"counter": "_total"}
    ours = {
        family.name + suffix.get(family.type, "")
        for family in metrics.registry.collect()
        if family.name.startswith("celery_bridge_")
    }
    assert ours == set(re.findall(r"`(celery_bridge_\w+)", page))


def test_every_field_of_the_audit_is_documented() -> None:
    """Each part of its JSON, and each field of a part."""
    page = (ROOT / "docs/reference/audit.md").read_text()
    fields = []
    for part, value in Auditor().report(2_000_000, 0).json().items():
        fields += [f"{part}.{field}" for field in value] if isinstance(value, dict) and value else [part]
    missing = [name for name in fields if f"`{name}`" not in page and f"`.{name.partition('.')[2]}`" not in page]
    assert [] == missing


def test_every_fault_is_documented() -> None:
    """The page on faults names each card."""
    page = (ROOT / "docs/reference/faults.md").read_text()
    assert [] == [card.name for card in deck if card.name not in page]


def test_every_broken_guard_is_documented() -> None:
    """The page on faults names each guard that is broken on purpose, in order, with the tests that notice."""
    page = (ROOT / "docs/reference/faults.md").read_text()
    rows = [line.split(" | ") for line in page.rpartition("|---|---|---|\n")[2].splitlines()]
    documented = [(row[0].removeprefix("| "), set(re.findall(r"`(\w+)(?:\.py)?`", row[1]))) for row in rows]
    tests = [{re.findall(r"\w+", test.removesuffix(".py"))[-1] for test in mutation.tests} for mutation in MUTATIONS]
    assert list(zip([mutation.name for mutation in MUTATIONS], tests, strict=True)) == documented


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_guard_is_still_where_it_is_broken(mutation: Mutation) -> None:
    """A text that has moved would break nothing, and a build that is whole would be called noticed."""
    assert [] == [change for change in mutation.changes if change.old not in (ROOT / change.file).read_text()]


def test_every_test_that_is_named_is_there() -> None:
    """The pages name tests as proofs: each exists."""
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for page in PAGES:
        named = re.findall(r"`(test_\w+)`", page.read_text())
        assert [] == [name for name in named if f"def {name}(" not in tests], page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link leads to a file, and each fragment to a heading."""
    for target, fragment in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        file = (page.parent / target).resolve()
        assert file.exists(), f"{page.name}: {target}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert fragment in [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]


def test_the_rooms_that_contributors_are_shown_are_there() -> None:
    """Each path of the table, and each file that a row names, of that room."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| `bridge/", "| `sinks/"))]
    assert {
        room.name for room in (ROOT / "bridge/celery_event_bridge").iterdir() if (room / "__init__.py").exists()
    } <= {Path(name).name for row in rows for name in re.findall(r"`([\w/]+)/`", row)} | {"brokers"}
    for row in rows:
        _, rooms, text, _ = row.split("|")
        paths = [ROOT / name for name in re.findall(r"`([\w/.]+)`", rooms)]
        assert [] == [path for path in paths if not path.exists()]
        files = re.findall(r"`(\w+\.py)`", text)
        assert [] == [name for name in files if not any((path / name).exists() for path in paths)]


def test_the_files_and_methods_that_the_architecture_names_are_there() -> None:
    """Each file by its path from a room, a package or the root, and each method of a class on an event's way."""
    page = (ROOT / "docs/architecture.md").read_text()
    beginnings = [ROOT, *(ROOT / "bridge/celery_event_bridge/brokers").glob("*/"), *(ROOT / "bridge").glob("*/")]
    beginnings += (ROOT / "sinks").glob("*/")
    named = re.findall(r"`([\w./-]+\.(?:py|md|yml)|[\w/]+/)`", page)
    assert [] == [name for name in named if not any((each / name).exists() for each in beginnings)]
    product = "".join(file.read_text() for part in ("bridge", "sinks") for file in (ROOT / part).rglob("*.py"))
    methods = re.findall(r"`([A-Z][a-z]\w+)\.(\w+)`", page)
    assert methods
    for owner, method in methods:
        (body,) = re.findall(rf"^class {owner}\b.*?(?=^class |\Z)", product, re.MULTILINE | re.DOTALL)
        assert f"def {method}(" in body, f"{owner}.{method}"


def test_every_decision_is_in_the_index() -> None:
    """The index names each page, once, in order."""
    folder = ROOT / "docs/decisions"
    linked = [target for target, _ in LINK.findall((folder / "README.md").read_text())]
    assert sorted(path.name for path in folder.glob("0*.md")) == linked


def test_every_command_is_documented() -> None:
    """The README shows each command."""
    page = (ROOT / "README.md").read_text()
    assert [] == [name for name in COMMANDS if f"celery-event-bridge {name}" not in page]


def test_documented_defaults_are_the_real_ones() -> None:
    """Where the reference gives a default as one value, the setting of that text is the setting left out."""
    page = (ROOT / "docs/reference/settings.md").read_text()
    documented = dict(re.findall(r"^\| `(BRIDGE_\w+)` \| `([^`]+)` \|", page, re.MULTILINE))
    models = [
        ("BRIDGE_", Settings),
        *(("BRIDGE_", model) for model in broker_settings()),
        *((sink_prefix(name), load(name).Settings) for name in installed()),
    ]
    compared = 0
    for prefix, model in models:
        for field, left_out in model():
            text = documented.get(prefix + field.upper())
            if text is not None:
                compared += 1
                assert left_out == getattr(model.model_validate({field: text}), field), prefix + field.upper()
    assert compared > 20


def test_the_proofs_that_the_guarantees_name_are_there() -> None:
    """Each test that a promise refers to exists."""
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text())
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert [] == [name for name in named if f"def {name}(" not in tests]
