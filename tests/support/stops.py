"""Stops of a bridge by SIGTERM, and the time that one may take."""

from __future__ import annotations

import time

from tests.support.bridges import Bridge
from tests.support.servers.debian import PATIENCE

TIMEOUT = 3
"""BRIDGE_SHUTDOWN_TIMEOUT of the bridges that are stopped."""
MARGIN = 2
"""Seconds that a stop may take beyond it."""


def ends_in_time(bridge: Bridge) -> None:
    """See that SIGTERM ends it in time, in order, and without a traceback."""
    most = (TIMEOUT + MARGIN) * PATIENCE
    begin = time.monotonic()
    code = bridge.stop(most + 30)
    took = time.monotonic() - begin
    assert took < most, f"a stop took {took:.1f} s: {bridge.log()}"
    assert 0 == code, bridge.log()
    assert "Traceback" not in bridge.log_file.read_text()
