"""Celery's events, off the broker and into a durable stream: `from celery_event_bridge import open_reader`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from celery_event_bridge.version import __version__ as __version__

if TYPE_CHECKING:
    from celery_event_bridge.reader import open_reader as open_reader


def __getattr__(name: str) -> object:
    """Import the reader when it is asked for, since `run` and `--help` need none of it."""
    if name != "open_reader":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("celery_event_bridge.reader").open_reader
