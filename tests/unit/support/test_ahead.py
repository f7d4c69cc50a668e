"""Servers that are started ahead: each once, only those that are wanted, and all are ended."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.support.servers import ServerMissing
from tests.support.servers.ahead import Ahead
from tests.support.servers.debian import ROOT, free_port


class Log(list[str]):
    """What becomes of servers that are none."""

    @contextmanager
    def server(self, name: str) -> Iterator[str]:
        if name == "missing":
            raise ServerMissing("no such server here")
        self.append(f"{name} started")
        yield name
        self.append(f"{name} ended")


def servers(log: Log, *names: str) -> Ahead:
    return Ahead({name: partial(log.server, name) for name in names})


def test_those_that_are_wanted_start_in_order_and_end() -> None:
    """In the order that they were made known in; what is asked for later starts then; nothing starts twice."""
    log = Log()
    ahead = servers(log, "a", "b", "c", "d")
    ahead.begin({"c", "a", "other"})
    assert ["c", "a", "b"] == [ahead.server(name) for name in ("c", "a", "b")]
    assert "c" == ahead.server("c")
    assert ["a started", "c started", "b started"] == log
    ahead.close()
    assert ["b ended", "c ended", "a ended"] == log[3:]


def test_one_that_cannot_be_had_is_missing_each_time() -> None:
    """Every test that needs it learns why, and the others have theirs."""
    log = Log()
    ahead = servers(log, "missing", "a")
    ahead.begin({"a", "missing"})
    for _ in range(2):
        with pytest.raises(ServerMissing, match="no such server"):
            ahead.server("missing")
    assert "a" == ahead.server("a")
    ahead.close()
    assert ["a started", "a ended"] == log


def test_no_two_servers_are_given_one_port() -> None:
    """Also while something else seeds the drawing with the same number again and again, as hypothesis does."""
    state = random.getstate()
    ports = []
    try:
        for _ in range(20):
            random.seed(0)
            ports.append(free_port())
    finally:
        random.setstate(state)
    assert len(ports) == len(set(ports))


def test_nor_are_two_processes() -> None:
    """A port that was drawn here is not drawn by tests that run beside, though nobody listens there yet."""
    port = free_port()
    question = f"from tests.support.servers.debian import is_ours; print(is_ours({port}), is_ours({port} + 30_000))"
    done = subprocess.run([sys.executable, "-c", question], cwd=ROOT, capture_output=True, text=True)
    assert ("False True\n", "") == (done.stdout, done.stderr)
