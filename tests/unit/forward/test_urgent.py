"""A source that loses what is published while it is away is connected to again soon."""

from __future__ import annotations

import pytest

from celery_event_bridge.testing import FakeSource
from tests.support import relays
from tests.support.relays import Clock, House


class UrgentSource(FakeSource):
    """One that says so."""

    reconnects_within = 0.5


@pytest.mark.parametrize(("source", "least", "most"), [(UrgentSource, 150, 340), (FakeSource, 10, 20)])
def test_an_urgent_source_is_tried_again_soon(
    monkeypatch: pytest.MonkeyPatch, source: type[FakeSource], least: int, most: int
) -> None:
    """Twice a second, where others are left alone for up to BRIDGE_RETRY_MAX_INTERVAL."""
    monkeypatch.setattr(relays, "FakeSource", source)
    house = House(Clock())
    over = house.clock.now + 100.0
    while house.clock.now < over:
        house.source.fail = "away"
        house.turn(seconds=0.1)
    assert least <= house.source.calls.count("open") <= most
