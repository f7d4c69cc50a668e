"""Blocks of code in the documents: which page, where, in which language, and why a test does not run it, if so."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "docs/quickstart.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
SHELL = ("sh", "console")
"""Languages of what is typed into a shell; in the second each line that is typed begins with a dollar."""
REASON = re.compile(r"<!-- not run: ((?:(?!-->).)*) -->\n+ *\Z", re.DOTALL)
BLOCK = re.compile(r"^( *)```([^`\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
TYPED = re.compile(r"^\$ (.*)$", re.MULTILINE)
DOCKER = re.compile(r"^(?:\w+=\S+ )*docker\b", re.MULTILINE)


class Block(NamedTuple):
    """A block of a page."""

    page: str
    section: str
    """Heading that it is under; empty above the first one."""
    line: int
    language: str
    text: str
    not_run: str
    """Reason for which no test runs it; empty where one does."""

    @property
    def name(self) -> str:
        """Where it is, as an editor takes it."""
        return f"{self.page}:{self.line}"

    @property
    def is_shell(self) -> bool:
        return self.language in SHELL

    @property
    def needs_docker(self) -> bool:
        return bool(DOCKER.search(self.text))

    @property
    def commands(self) -> str:
        """Text that is typed."""
        return "\n".join(TYPED.findall(self.text)) if self.language == "console" else self.text


def blocks(page: Path, source: str | None = None) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text(encoding="utf-8") if source is None else source
    found = []
    for match in BLOCK.finditer(text):
        before = text[: match.start()]
        reason = REASON.search(before)
        line = before.count("\n") + 1
        why = " ".join(reason[1].split()) if reason else ""
        section = (SECTION.findall(before) or [""])[-1]
        code = textwrap.dedent(match[3])
        found.append(Block(str(page.relative_to(ROOT)), section, line, match[2].strip(), code, why))
    return found


def shell_blocks(page: Path) -> list[Block]:
    """Blocks of a page that a reader would type."""
    return [block for block in blocks(page) if block.is_shell]


def configuration(page: Path, language: str, containing: str) -> str:
    """Return the block of that language which has that text in it."""
    return next(block.text for block in blocks(page) if block.language == language and containing in block.text)
