"""Shell blocks of the documents: each is run by a test, or says why not; the figures of size are measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.terminal.pages import PAGES, ROOT, blocks, shell_blocks

TESTS = ("integration/test_pages_with_kafka", "integration/test_pages_on_tls_kafka", "compose/test_pages_with_docker")
RUNS = "".join((ROOT / f"tests/{name}.py").read_text() for name in TESTS)
COMMANDS = "celery-event-bridge|celery|pip|python3?|docker|make|curl|sqlite3|export|redis-cli"
COMMANDS += r"|rabbitmq\w+|kafka-\w+\.sh"
MEASURED = re.compile(r"[\d,]*\d(?:\.\d+)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_shell_block_is_run_or_says_why_not(page: Path) -> None:
    """What a page prints for a shell is typed by the test of its pages, which names the page."""
    to_run = [block for block in shell_blocks(page) if not block.not_run]
    if to_run:
        assert f'"{page.relative_to(ROOT)}"' in RUNS, [block.name for block in to_run]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_typed_is_marked_as_shell(page: Path) -> None:
    """A block without a language would escape the tests: one of those that begins with a command is none."""
    typed = re.compile(rf"^(?:\$ |(?:\w+=\S+ )*(?:{COMMANDS}) )", re.MULTILINE)
    assert [] == [block.name for block in blocks(page) if not block.language and typed.search(block.text)]


def test_a_reason_not_to_run_is_a_sentence() -> None:
    """Each says enough for a reader of the source to judge it."""
    reasons = {block.name: block.not_run for page in PAGES for block in shell_blocks(page) if block.not_run}
    assert reasons
    assert {} == {name: reason for name, reason in reasons.items() if len(reason.split()) < 4}


def test_each_figure_of_size_is_measured() -> None:
    """The column of measured figures has none that is not in the benchmarks or the guarantees."""
    page = (ROOT / "docs/how-to/operate.md").read_text()
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| ")][1:]
    sources = " ".join((ROOT / f"docs/{name}.md").read_text() for name in ("benchmarks", "guarantees"))
    known = set(MEASURED.findall(sources))
    figures = [figure for row in rows for figure in MEASURED.findall(row)]
    assert len(figures) > 20
    assert [] == [figure for figure in figures if figure not in known and figure != "48"]  # 3 x 16 MiB
    assert "(bound: 48)" in sources
