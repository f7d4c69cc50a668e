"""A page that is typed, block by block."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.support.servers.debian import ROOT
from tests.support.terminal.pages import shell_blocks
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.world import World

Step = Callable[[World, Terminal], None]
INSTALLED: dict[str, Path] = {}
"""Environments by the block that has made them: several pages have the same one, which takes its time."""
INSTALLING = re.compile(r"^python3 -m venv venv$", re.MULTILINE)


END = ""


class Page:
    """A page: what is done before it is typed, and before the block that has a text in it."""

    def __init__(self, name: str, *before: Step, at: Mapping[str, Step] = MappingProxyType({})) -> None:
        self.name, self.before, self._at = name, before, at

    def type(self, world: World, terminal: Terminal, section: str | None = None) -> None:
        """Type what is to be run of it, or of one section; a step at `END` comes before what goes on is stopped."""
        for prepare in self.before:
            prepare(world, terminal)
        left = dict(self._at)
        last = left.pop(END, None)
        for block in shell_blocks(ROOT / self.name):
            if block.not_run or block.needs_docker or section not in (None, block.section):
                continue
            for text in [text for text in left if text in block.text]:
                left.pop(text)(world, terminal)
            if block.text in INSTALLED:
                (terminal.folder / "venv").symlink_to(INSTALLED[block.text])
                continue
            terminal.type(block, timeout=200)
            if INSTALLING.search(block.text):
                INSTALLED[block.text] = terminal.folder / "venv"
        assert {} == left, "texts that are in no block"
        if last:
            last(world, terminal)
        terminal.stop()


def repeated(terminal: Terminal, command: str) -> None:
    """Type a command again and again until it ends well."""
    attempts = f"for _ in {{1..100}}; do {command} > last.txt && exit; sleep 0.5; done"
    terminal.run(f"{attempts}; cat last.txt; exit 1", timeout=90)
