"""Fixtures of the tests of forwarding: a relay under a clock that moves when told."""

from __future__ import annotations

import pytest

from tests.support.relays import Clock, House


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(clock: Clock) -> House:
    return House(clock)
