"""Shell blocks of the documents: each is run by a test, or says why not; the figures of size are measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.terminal.pages import PAGES, ROOT, SHELL, blocks, shell_blocks

TYPED = "".join(file.read_text() for file in (ROOT / "tests/integration/documents").glob("test_pages*.py"))
TYPED_FOR_DOCKER = (ROOT / "tests/compose/test_pages_with_docker.py").read_text()
CERTIFIED = (ROOT / "tests/integration/documents/conftest.py").read_text()
BY_SECTION = ("docs/how-to/tls.md", "docs/how-to/rights.md")
"""Pages whose sections are typed each by a test of its own."""
COMMANDS = "celery-event-bridge|celery|pip|python3?|docker|make|curl|sqlite3|export|redis-cli"
COMMANDS += r"|rabbitmq\w+|kafka-\w+\.sh"
WIDEST = 100
FIGURES = ("architecture.md",)
"""Pages whose blocks are drawings."""
MEASURED = re.compile(r"[\d,]*\d(?:\.\d+)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_shell_block_is_run_or_says_why_not(page: Path) -> None:
    """What a page prints for a shell is typed by the test of its pages, which names the page."""
    name = str(page.relative_to(ROOT))
    to_run = [block for block in shell_blocks(page) if not block.not_run]
    for_docker = [block.name for block in to_run if block.needs_docker]
    others = [block for block in to_run if not block.needs_docker]
    if name in BY_SECTION:
        assert {block.section for block in others} <= set(
            re.findall(r'\.type\(world, \w+, "(\w+)"\)', TYPED + CERTIFIED)
        )
    else:
        assert not others or f'Page("{name}"' in TYPED, [block.name for block in others]
    assert not for_docker or f'"{name}"' in TYPED_FOR_DOCKER, for_docker


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_typed_is_marked_as_shell(page: Path) -> None:
    """A block without a language would escape the tests: one of those that begins with a command is none."""
    typed = re.compile(rf"^(?:\$ |(?:\w+=\S+ )*(?:{COMMANDS}) )", re.MULTILINE)
    assert [] == [block.name for block in blocks(page) if not block.language and typed.search(block.text)]


def test_what_is_typed_and_printed_is_at_most_100_wide() -> None:
    """A page is read in half a screen, where a longer line is broken anywhere or cut off."""
    pages = [*PAGES, *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/reference").glob("*.md")]
    wide = [
        f"{block.name}: {line}"
        for page in pages
        for block in blocks(page)
        if block.language in (*SHELL, "cron", "")
        for line in block.text.splitlines()
        if len(line) > WIDEST and page.name not in FIGURES
    ]
    assert [] == wide


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
