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


def test_an_outage_is_told_of_with_its_reason_at_once() -> None:
    """Whoever waits may do something meanwhile; where it is given up, what is raised has it too."""
    given_up = PROGRAM.replace("1.0, None)", "1.0, 0.5)").replace("stopping.set()", "")
    given_up = given_up.replace('"it is away"), None', '"it is away"), *[SinkUnavailable("it is away")] * 99, None')
    done = subprocess.run([sys.executable, "-c", given_up], capture_output=True, text=True, check=False)
    assert 1 == done.stderr.count("SinkUnavailable: it is away")
    assert "stream unavailable, trying again for 0.5 s: it is away" in done.stderr.splitlines()[0]
    assert 1 == done.stderr.count("trying again")
    back = PROGRAM.replace("1.0, None)", "1.0, 3600.0)")
    done = subprocess.run([sys.executable, "-c", back], capture_output=True, text=True, check=True)
    assert "trying again for 3600 s: it is away" in done.stderr.splitlines()[0]
    assert 1 == done.stderr.count("it is away")


def test_a_refusal_is_given_up_at_once() -> None:
    """No retry mends it; a reader that does not give up waits for whoever grants the right."""
    refused = PROGRAM.replace("SinkUnavailable", "StreamRefused").replace("1.0, None)", "1.0, 3600.0)")
    done = subprocess.run([sys.executable, "-c", refused], capture_output=True, text=True, check=False)
    assert "StreamRefused: it is away" in done.stderr.splitlines()[-1]
    assert "trying again" not in done.stderr
    waits = PROGRAM.replace("SinkUnavailable", "StreamRefused")
    done = subprocess.run([sys.executable, "-c", waits], capture_output=True, text=True, check=True)
    assert "[False, False, True, True] None" == done.stdout.strip()


def test_both_ends_of_an_outage_are_shown() -> None:
    """By the log of `tail --follow`, `audit --follow` and `replay`, once each."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "[False, False, True, True] None" == done.stdout.strip()
    away, again = done.stderr.splitlines()
    assert "stream unavailable, trying again: it is away" in away
    assert "stream available again after " in again
