"""Fixtures of the tests of the command line."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of whoever runs the tests says."""
    for name in list(os.environ):
        if name.startswith(("BRIDGE_", "CELERY_")):
            monkeypatch.delenv(name)
