"""The demo: it finds nothing missing, and it can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.bridges import run_to_end
from tests.support.stores import FULL

pytestmark = pytest.mark.timeout(600)


BROKERS = ["rabbitmq", "redis"]


def demo(broker: str, sink: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("examples.demo", "--broker", broker, "--sink", sink, timeout=180, **environment)


@pytest.mark.parametrize("sink", ["sqlite", "redis", "kafka"] if FULL else ["redis"])
@pytest.mark.parametrize("broker", BROKERS)
def test_the_demo(broker: str, sink: str) -> None:
    """With a kill and an outage of eight seconds nothing is missing: exit code 0, last line `missing 0`."""
    done = demo(broker, sink)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "missing 0" == done.stdout.splitlines()[-1]
    assert "failed" not in done.stdout


@pytest.mark.parametrize(("broker", "sink"), [("rabbitmq", "sqlite"), ("redis", "redis")])
def test_the_demo_notices_a_bridge_that_acknowledges_too_early(broker: str, sink: str) -> None:
    """With a build that acknowledges before the confirm, events are missing, and it says so: exit code 1."""
    done = demo(broker, sink, DEMO_BRIDGE=f"{sys.executable} -m tests.broken.ack_first run")
    assert 1 == done.returncode, done.stdout + done.stderr
    words = done.stdout.splitlines()[-1].split()
    assert "missing" == words[0]
    assert int(words[1]) > 0
