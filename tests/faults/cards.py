"""A card is a fault: it breaks something, waits, and mends it. Bridges that it ends it starts again."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.faults.stage import Stage

ALL = ("sqlite", "redis", "kafka")


class Card(NamedTuple):
    """One fault."""

    name: str
    play: Callable[[Stage, Random], None]
    """Returns when the fault has ended: its server answers again."""
    sinks: tuple[str, ...]
    weight: float
    """How often it is dealt; slow ones seldom."""
    nodes: int
    """Of RabbitMQ, that it needs."""


deck: list[Card] = []


def card(
    name: str, *, sinks: tuple[str, ...] = ALL, weight: float = 1.0, nodes: int = 1
) -> Callable[..., Callable[..., None]]:
    """Put a function into the deck."""

    def put(play: Callable[[Stage, Random], None]) -> Callable[[Stage, Random], None]:
        deck.append(Card(name, play, sinks, weight, nodes))
        return play

    return put


def hold(dice: Random, least: float = 0.2, most: float = 4.0) -> None:
    """The fault lasts: now and then longer than BRIDGE_LET_GO_AFTER here."""
    time.sleep(dice.uniform(least, most))
