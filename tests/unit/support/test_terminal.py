"""The terminal of the pages: what fails in a block fails the test, and what goes on in the background is ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.servers.debian import until
from tests.support.terminal import pages
from tests.support.terminal.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, [(r"redis:(\d)", "here:1")])
    yield opened
    opened.end()


@pytest.mark.parametrize("text", ["false; true", "false\ntrue", "false | true", "echo $NOT_SET", "no-such-command"])
def test_what_fails_within_a_block_is_noticed(terminal: Terminal, text: str) -> None:
    """Also in its middle, in a pipe, and by a variable that nothing has set."""
    with pytest.raises(AssertionError, match="ended with"):
        terminal.run(text)


def test_what_never_ends_is_noticed(terminal: Terminal) -> None:
    """A command that a page should not have printed like that fails by the deadline, and is killed."""
    with pytest.raises(AssertionError, match="ended with None"):
        terminal.run("echo $$ > pid; sleep 600", timeout=0.2)
    terminal.end()
    assert not alive(int((terminal.folder / "pid").read_text()))


def test_variables_and_the_folder_last_from_block_to_block(terminal: Terminal) -> None:
    """As in a reader's shell, with what was exported last."""
    terminal.run("mkdir sub; cd sub; export SAID='so \"it is\"'")
    assert 'so "it is" sub\n' == terminal.run('echo "$SAID $(basename "$PWD")"')


def test_what_a_block_leaves_in_the_background_ends_with_the_page(terminal: Terminal) -> None:
    """Nothing of a page goes on beside the next one."""
    terminal.run("sleep 600 & echo $! > pid")
    pid = int((terminal.folder / "pid").read_text())
    assert alive(pid)
    terminal.end()
    until(lambda: not alive(pid), 10, "it has ended")


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z" and os.getpgid(pid) > 0
    return False


def test_blocks_are_found_with_their_language_their_reason_and_what_is_typed(tmp_path: Path) -> None:
    """In a list too; a reason belongs to the block behind it alone, and of a session what has a dollar is typed."""
    page = pages.ROOT / "README.md"
    source = "# x\n## One\n<!-- not run: it is\n  long -->\n```sh\na\n```\n```sh\nb redis:6\n```\n1. x\n\n"
    source += "   ```console\n   $ c\n   d\n   ```\n"
    found = pages.blocks(page, source)
    assert ["sh", "sh", "console"] == [block.language for block in found]
    assert ["it is long", "", ""] == [block.not_run for block in found]
    assert ["a\n", "b redis:6\n", "c"] == [block.commands for block in found]
    assert ["README.md:5", "README.md:8", "README.md:13"] == [block.name for block in found]
    assert {"One"} == {block.section for block in found}
    assert "b here:1\n" == Terminal(tmp_path, [(r"redis:(\d)", "here:1")]).here(found[1].commands)
