"""Faults of the machine, as one process of it sees them: no descriptors, no disk, no memory, another time."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.cards import card, hold
from tests.faults.stage import REPLICAS, Stage
from tests.support.bridges import Bridge
from tests.support.servers.debian import library

LEFT = 64 * 2**20
"""Bytes of memory."""
HOUR = 3600


@contextmanager
def limited(bridges: Iterable[Bridge], kind: int, most: int) -> Iterator[None]:
    """These processes are held to a limit for a while."""
    pids = [bridge.process.pid for bridge in bridges]
    before = [resource.prlimit(pid, kind) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, kind, (most, hard))
    try:
        yield
    finally:
        for pid, both in zip(pids, before, strict=True):
            resource.prlimit(pid, kind, both)


@contextmanager
def file_size_limited(stage: Stage, slots: Iterable[int], most: int) -> Iterator[None]:
    """No file of these bridges can grow over so many bytes, as if its disk was full: their logs neither."""
    with limited([stage.replicas[slot] for slot in slots], resource.RLIMIT_FSIZE, most):
        yield


@card("file descriptors used up")
def no_descriptors(stage: Stage, dice: Random) -> None:
    with limited(stage.replicas, resource.RLIMIT_NOFILE, 3):
        stage.network.cut()
        stage.interrupt_stream()
        hold(dice)


@card("disk full for a bridge's log", weight=0.5)
def no_disk(stage: Stage, dice: Random) -> None:
    with file_size_limited(stage, [stage.pick(dice)], 0):
        stage.network.cut()
        hold(dice)


@card("64 MiB of memory left")
def little_memory(stage: Stage, dice: Random) -> None:
    slot = stage.pick(dice)
    bridge = stage.replicas[slot]
    pages = int(Path(f"/proc/{bridge.process.pid}/statm").read_text().split()[0])
    with limited([bridge], resource.RLIMIT_AS, pages * resource.getpagesize() + LEFT):
        # What piles up meanwhile comes at once.
        stage.signal(signal.SIGSTOP, *range(REPLICAS))
        hold(dice)
        stage.signal(signal.SIGCONT, *range(REPLICAS))
        hold(dice)
    # Afterwards it may have ended, like any process that gets no memory; an operator's supervisor starts it again.
    if bridge.process.poll() is not None:
        stage.start(slot)


@card("a bridge's clock is stepped by an hour", weight=0.5)
def clock_stepped(stage: Stage, dice: Random) -> None:
    offset = stage.folder / "clock"
    set_clock(offset, 0)
    slot = stage.pick(dice)
    assert 0 == stage.replicas[slot].stop(15)
    stage.start(
        slot,
        LD_PRELOAD=str(library("faketime/libfaketime.so.1", "libfaketime")),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        # A step changes the calendar; what measures durations goes on.
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        DONT_FAKE_MONOTONIC="1",
    )
    stage.await_consuming()
    for step in (HOUR, -HOUR):
        set_clock(offset, step)
        stage.await_consuming()
        hold(dice, 0.2, 2)
    assert 0 == stage.replicas[slot].stop(15)
    stage.start(slot)


def set_clock(offset: Path, seconds: int) -> None:
    """Replaced at once: a half-written file would be another time."""
    new = offset.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.replace(offset)
