"""The demo: it finds nothing missing, and it can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bridges import clean_environment
from tests.servers.debian import ROOT

pytestmark = pytest.mark.timeout(200)


def demo(sink: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.demo", "--sink", sink],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("sink", ["sqlite", "redis"])
def test_the_demo(sink: str) -> None:
    """With a kill and an outage of eight seconds nothing is missing: exit code 0, last line `missing 0`."""
    done = demo(sink)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "missing 0" == done.stdout.splitlines()[-1]
    assert "failed" not in done.stdout


def test_the_demo_notices_a_bridge_that_acknowledges_too_early() -> None:
    """With a build that acknowledges before the confirm, events are missing, and it says so: exit code 1."""
    done = demo("sqlite", DEMO_BRIDGE=f"{sys.executable} -m tests.broken.ack_first run")
    assert 1 == done.returncode, done.stdout + done.stderr
    words = done.stdout.splitlines()[-1].split()
    assert "missing" == words[0]
    assert int(words[1]) > 0
