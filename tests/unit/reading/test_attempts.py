"""Attempts of a reader at its stream: an outage is told of when it begins and when it is over."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.observe import logs
from celery_event_bridge.reading.attempts import Attempts

logs.configure("json", "info")
answers = [SinkUnavailable("it is away"), SinkUnavailable("it is away"), None, None]

def action():
    if failure := answers.pop(0):
        raise failure

stopping = threading.Event()
stopping.set()  # no pause is waited out
attempts = Attempts(stopping, 1.0, None)
print([attempts(action) for _ in range(4)], attempts.reason)
"""


def test_both_ends_of_an_outage_are_shown() -> None:
    """By the log of `tail --follow`, `audit --follow` and `replay`, once each."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "[False, False, True, True] None" == done.stdout.strip()
    away, again = done.stderr.splitlines()
    assert "stream unavailable, trying again: it is away" in away
    assert "stream available again after " in again
