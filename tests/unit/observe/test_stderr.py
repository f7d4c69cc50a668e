"""Standard error as a pipe whose reader stands still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from celery_event_bridge.observe.stderr import Unfailing
from tests.support.servers.debian import until


class Pipe:
    """A pipe that nobody reads until it is asked for."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)
        self.stream = os.fdopen(self.writes, "w")
        self.found = b""

    def fill(self) -> None:
        os.set_blocking(self.writes, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.writes, b"x" * 16)
        os.set_blocking(self.writes, True)

    def read(self) -> bytes:
        with suppress(BlockingIOError):
            while piece := os.read(self.reads, 65536):
                self.found += piece
        return self.found.lstrip(b"x")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.stream.close()
    os.close(made.reads)


def lines(count: int, *, begin: int = 0) -> list[str]:
    return [f"line {number}\n" for number in range(begin, begin + count)]


def dropped(count: int) -> str:
    return f"{count} dropped\n"


def test_lines_wait_for_a_reader_who_stands_still(pipe: Pipe) -> None:
    """Nobody is held up; when it reads again all are there, in order, though they were written in pieces."""
    subject = Unfailing(pipe.stream, dropped)
    pipe.fill()
    for line in lines(500):
        subject.write(line[:3])
        subject.write(line[3:])
        subject.flush()
    until(lambda: pipe.read().decode() == "".join(lines(500)), 10, "all lines are there")
    subject.write("and more\n")
    assert pipe.read().endswith(b"line 499\nand more\n")


def test_lines_past_the_bound_are_counted(pipe: Pipe) -> None:
    """What is kept is whole lines, and in the place of the others it says how many they were."""
    subject = Unfailing(pipe.stream, dropped, most=1000)
    pipe.fill()
    for line in lines(500):
        subject.write(line)
    until(lambda: b"dropped" in pipe.read(), 10, "it says so")
    *kept, said = pipe.read().decode().splitlines(keepends=True)
    assert lines(len(kept)) == kept
    assert dropped(500 - len(kept)) == said
    assert 50 < len(kept) < 500


def test_a_reader_who_is_gone_ends_nothing(pipe: Pipe) -> None:
    """What it has not read is let go, and what is written after that goes nowhere."""
    subject = Unfailing(pipe.stream, dropped)
    pipe.fill()
    subject.write("kept\n")
    os.close(pipe.reads)
    until(lambda: subject._writer is None, 10, "nothing is kept any more")
    subject.write("more\n")
    assert not subject._kept
    pipe.reads = os.open(os.devnull, os.O_RDONLY)
