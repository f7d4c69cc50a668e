"""Fixtures of the tests of what is observed."""

from __future__ import annotations

import pytest

from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def metrics(status: Status) -> Metrics:
    return Metrics(status)
