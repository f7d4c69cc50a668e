"""Progress on a terminal: how far it is, how fast, and the cursor given back; nothing in a pipe."""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from celery_event_bridge.cli.progress import Bar, Silence, progress

UNTIL = 1_700_000_100_000_000


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Make standard error a terminal, and return what was shown on it, once the bar is closed."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:

        def shown() -> str:
            if sys.stderr is not stream:  # at the first call: pytest sets it anew after the fixtures
                monkeypatch.setattr(sys, "stderr", stream)
                return ""
            stream.flush()
            found = b""
            while b"\x1b[?25h" not in found:  # the kernel hands on what was written when it comes to it
                found += os.read(master, 65536)
            return found.decode()

        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        yield shown
    os.close(master)


def test_a_bar_says_how_far_and_how_fast_it_is(terminal: Callable[[], str]) -> None:
    """By the time of the events; the last figures stay, and closing it twice does no harm."""
    terminal()
    bar = progress(UNTIL)
    bar(UNTIL - 100_000_000, 1)
    assert isinstance(bar, Bar)
    bar._due = 0.0
    bar(UNTIL - 25_000_000, 12_345)
    bar.close()
    bar.close()
    shown = terminal()
    assert "75%" in shown
    assert re.search(r"12,345 events, [\d,]+/s", shown)
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")


def test_it_never_goes_back(terminal: Callable[[], str]) -> None:
    """Events of several partitions are not in the order of their times."""
    terminal()
    bar = progress(UNTIL)
    bar(UNTIL - 100_000_000, 1)
    assert isinstance(bar, Bar)
    for at in (UNTIL - 50_000_000, UNTIL - 90_000_000, UNTIL + 10**9):
        bar._due = 0.0
        bar(at, 2)
    bar.close()
    percents = [int(each) for each in re.findall(r"(\d+)%", terminal())]
    assert percents == sorted(percents)
    assert 100 == percents[-1]


def test_a_pipe_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """So that a log is not full of it."""
    silence = progress(UNTIL)
    assert isinstance(silence, Silence)
    silence(UNTIL, 1)
    silence.close()
    assert ("", "") == capfd.readouterr()
