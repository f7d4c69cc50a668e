"""Bridges of a Redis broker that are killed, frozen and cut off lose nothing; one alone does."""

from __future__ import annotations

import re
import subprocess

from tests.support.bridges import run_to_end
from tests.support.stores import at_full_length

VERDICT = re.compile(r"(\d+) faults .*: (\d+) events, (\d+) missing, 0 that nobody heard, \d+ twice")


def campaign(bridges: int) -> subprocess.CompletedProcess[str]:
    """Play a short one into SQLite."""
    options = ("--seconds", "15", "--every", "3", "--seed", "1", "--sink", "sqlite", "--bridges", str(bridges))
    return run_to_end("tests.faults.redis_campaign", *options, timeout=120)


def test_three_bridges_lose_nothing() -> None:
    """Real workers publish meanwhile; all that a subscriber beside them hears is stored."""
    done = campaign(3)
    found = VERDICT.search(done.stdout)
    assert found, done.stdout + done.stderr
    faults, events, missing = map(int, found.groups())
    assert (0, 0) == (done.returncode, missing), done.stdout
    assert faults >= 4
    assert events > 500


@at_full_length
def test_one_bridge_alone_loses_events_and_that_is_seen() -> None:
    """While it is killed nobody listens: a campaign that found nothing then would find nothing ever."""
    done = campaign(1)
    found = VERDICT.search(done.stdout)
    assert found, done.stdout + done.stderr
    assert int(found[3]) > 0
    assert 1 == done.returncode
