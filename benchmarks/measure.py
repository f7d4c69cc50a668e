"""What a drain costs: samples of how far it is and of the processor time so far, taken from outside."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

STALLED = 60.0
"""Seconds without progress after which a contender has failed."""
FIRST = 0.1
"""The part of a backlog that is drained before measuring begins: nobody's start-up counts."""
Process = Popen[Any]


class Failed(Exception):
    """A contender ended, or stands still. The text says which."""


class Sample(NamedTuple):
    """Taken in one go."""

    moment: float
    """Seconds, monotonic."""
    done: int
    """Events, or messages, that are through."""
    cpu: float
    """Seconds of processor time since their start, user and system, of the processes with all their threads."""


class Span(NamedTuple):
    """From one sample to a later one."""

    seconds: float
    done: int
    cpu: float


def cpu_seconds(process: Process) -> float:
    """Its processor time so far, with that of threads that have ended, to the nanosecond.

    From its clock, as the kernel keeps it: /proc rounds to hundredths of a second, a fifth of what a fast drain takes.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(process.pid, ctypes.byref(clock)):
        raise Failed(f"process {process.pid} is gone")
    return time.clock_gettime(clock.value)


def peak_bytes(process: Process) -> int:
    """The most resident memory that it has had so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])


def watch(processes: Sequence[Process], count: Callable[[], int], total: int, pause: float) -> list[Sample]:
    """Samples from now until `count()` says that all is through, one every `pause` seconds. Raises Failed."""
    samples: list[Sample] = []
    progress = time.monotonic()
    while True:
        done, now = count(), time.monotonic()
        if not samples or done > samples[-1].done:
            progress = now
        for process in processes:
            if process.poll() is not None:
                raise Failed(f"ended with {process.returncode} after {done} of {total}")
        samples.append(Sample(now, done, sum(map(cpu_seconds, processes))))
        if done >= total:
            return samples
        if now - progress > STALLED:
            raise Failed(f"stands still at {done} of {total}")
        time.sleep(pause)


def span(samples: Sequence[Sample], first: float = FIRST) -> Span:
    """From the first sample with that part of the backlog through to the last one."""
    end = samples[-1]
    start = next(sample for sample in samples if sample.done >= first * end.done)
    if start is end:
        # So quick that nothing was seen in between.
        start = samples[-2]
    return Span(end.moment - start.moment, end.done - start.done, end.cpu - start.cpu)
