"""Settings of the other replicas that decide what is stored: who forwards by others is told of, as nobody would see it.

All on one lease store in one place, and by turns: what BRIDGE_EVENT_TYPES leaves out and what BRIDGE_BROKER_NAME calls
the broker would depend on whose turn it is.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.wanted import patterns_of
from celery_event_bridge.contract import LOOK_INTERVAL, notices

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

SHOWN = 200
"""Characters of the patterns that are said; a hash stands for the others."""
A_DAY = 86_400.0
WAY_OUT = (
    "what is stored depends on who of them forwards. Give both the same, or one of them a BRIDGE_QUEUE of its own; "
    "while replicas are replaced this is over with the last"
)


class Chosen(msgspec.Struct, frozen=True):
    """Settings of one replica that decide what it stores, as they are said to the others."""

    types: str
    name: str

    def differences(self, other: Control) -> list[str]:
        """Return a line for each setting that is another one there; none for what it does not say."""
        pairs = (
            ("BRIDGE_EVENT_TYPES", self.types or "*", other.types if other.types is None else other.types or "*"),
            ("BRIDGE_BROKER_NAME", self.name, other.name),
        )
        return [
            f"a bridge on the same lease has {_said(name, theirs)}, and this one has {_said(name, ours)}: {WAY_OUT}"
            for name, ours, theirs in pairs
            if theirs is not None and theirs != ours
        ]


def chosen(settings: Settings) -> Chosen:
    """Return them, bounded."""
    types = patterns_of(settings.event_types)
    if len(types) > SHOWN:
        types = f"{types[:SHOWN]}... ({hashlib.blake2b(types.encode(), digest_size=4).hexdigest()})"
    return Chosen(types, settings.broker_name or "")


class Peers:
    """Follows what the others say. All times are monotonic, in seconds."""

    def __init__(self, settings: Settings) -> None:
        self.ours = chosen(settings)
        self._due: dict[str, float] = {}
        """By the line: when it is to be counted again."""
        self._heard: dict[str, float] = {}
        """By the line: when it was true last."""

    def heard(self, message: Control, now: float) -> None:
        """Tell of what differs, once; it is counted with each look."""
        for text in self.ours.differences(message):
            self._heard[text] = now
            if now >= self._due.get(text, now):
                self._due[text] = now + LOOK_INTERVAL
                notices.tell("competitor", text, subject=text, every=A_DAY)

    def look(self, now: float) -> None:
        """Tell of what is over, as nobody says it any more."""
        for text, at in [*self._heard.items()]:
            if now - at >= LOOK_INTERVAL:
                del self._heard[text], self._due[text]
                notices.over("competitor", f"no longer so: {text.partition(':')[0]}", subject=text)


def _said(name: str, value: str) -> str:
    return f"{name}={value}" if value else f"no {name}"
