"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAP = """
import sys, time
from contextlib import nullcontext
from celery_event_bridge.process.memory import giving_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

with giving_back(0.05) if sys.argv[1] == "with" else nullcontext():
    held = [bytearray(10_000) for _ in range(3_000)]
    above = bytearray(10_000)
    before = resident()
    del held
    deadline = time.monotonic() + float(sys.argv[2])
    while (kept := resident()) > before - 20_000_000 and time.monotonic() < deadline:
        time.sleep(0.02)
print(before - kept)
"""
"""Frees 30 MB below something that stays, and prints how many bytes left the process within so many seconds."""


def given_back(how: str, seconds: float) -> int:
    command = [sys.executable, "-c", HEAP, how, str(seconds)]
    return int(subprocess.check_output(command, cwd=ROOT, timeout=180))


def test_what_was_freed_below_something_in_use_is_given_back() -> None:
    """Within moments; without it, it stays."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library is not glibc: it has no malloc_trim")
    assert given_back("with", 30) > 20_000_000
    assert given_back("without", 0.5) < 5_000_000
