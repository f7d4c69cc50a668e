"""Standard output as a sink: lines for a pipe; a reader that goes away is the end."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable

from tests.support import oracle
from tests.support.bridges import Bridge, clean_environment
from tests.support.servers.debian import ROOT, until


def test_lines_carry_the_events(broker_url: str, start_bridge: Callable[..., Bridge]) -> None:
    """JSON is embedded as it was sent; what is not JSON on one line is encoded; nothing is lost on the way."""
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, BRIDGE_SINK="stdout").await_ready()
    plain = b'{"type": "task-sent",  "uuid": "1", "args": "\xc3\xa9"}'
    folded = b'{"type": "task-sent",\n "uuid": "2"}'
    properties = {"content_type": "application/json"}
    oracle.publish(broker_url, [oracle.Published(body, properties, "task.sent") for body in (plain, folded)])
    until(lambda: bridge.metric("events_forwarded_total") == 2, 20, "both are written")
    assert 0 == bridge.stop()
    raw = [line for line in bridge.log_file.read_bytes().splitlines() if b'"data' in line]
    assert plain in raw[0]
    assert json.loads(plain) == json.loads(raw[0])["data"]
    assert folded == base64.b64decode(json.loads(raw[1])["data_base64"])


def test_a_reader_that_goes_away_ends_the_bridge(broker_url: str) -> None:
    """One line, exit code 1, and what was not written goes back to the broker."""
    environment = clean_environment() | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SINK": "stdout", "BRIDGE_HTTP": "off"}
    with subprocess.Popen(
        [sys.executable, "-m", "celery_event_bridge", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            until(lambda: oracle.consumers(broker_url, "celeryev.bridge") == 1, 20, "the queue is bound and consumed")
            oracle.publish(broker_url, oracle.numbered(0, 3))
            assert 1 == process.wait(60)
            lines = process.stderr.read().splitlines()
        finally:
            process.kill()
    assert ["celery-event-bridge: standard output was closed by its reader"] == [
        line for line in lines if not line.startswith("{")
    ]
    until(
        lambda: oracle.depth(broker_url, "celeryev.bridge") + oracle.depth(broker_url, "celeryev.bridge.overflow") == 3,
        20,
        "the messages are back in a queue",
    )
