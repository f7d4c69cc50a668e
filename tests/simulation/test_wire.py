"""The real plug-in for RabbitMQ in a world of its own: each fault alone, and many together."""

from __future__ import annotations

import random
from typing import cast

import pytest

from celery_event_bridge.contract import LOOK_INTERVAL
from tests.simulation.faults import Card
from tests.simulation.play import Play
from tests.simulation.wire.wire import Wire

HARMLESS = ("bytes trickle", "RabbitMQ slow", "clock set", "burst", "alarm", "binding removed", "exchange deleted")
"""Faults with which every connection stays."""


def test_without_a_fault_all_is_stored_or_parked() -> None:
    """The model gives no reason to connect again, and nothing waits at the end."""
    play = Play("0", "wire", [])
    play.run()
    assert play.oracle.published > 100


def test_the_same_seed_gives_the_same_trace() -> None:
    """Every byte on the wire comes of the seed: two runs of one say the same, line by line."""
    first, second = Play("6", "wire"), Play("6", "wire")
    first.run()
    second.run()
    assert first.world.trace.digest() == second.world.trace.digest()


@pytest.mark.parametrize("name", [*Wire.cards])
def test_a_fault_that_comes_again_and_again_loses_nothing(name: str) -> None:
    """With no other beside it, so that what it has done is not undone by the next connection."""
    draw = random.Random(name)
    times = sorted(draw.random() * Wire.seconds for _ in range(12))
    Play(name, "wire", [Card(at, name, draw.random(), draw.random()) for at in times]).run()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_ends_no_connection_makes_nobody_connect_again_and_doubles_nothing(name: str) -> None:
    """Slow bytes, an alarm, or a binding that is gone cost time, and nothing else."""
    draw = random.Random(name)
    times = sorted(draw.random() * Wire.seconds for _ in range(12))
    play = Play(name, "wire", [Card(at, name, draw.random(), draw.random()) for at in times])
    play.run()
    kind = cast("Wire", play.kind)
    assert kind.rabbit.connected == len(play.replicas)
    assert set(kind.stream.counts.values()) == {1}
    assert max(kind.rabbit.parked.values()) == 1


def test_a_binding_that_was_removed_is_made_again_within_a_look() -> None:
    """What is published meanwhile is gone, and nobody can say so: it is not to be for longer than promised."""
    play = Play("0", "wire", [Card(20.0, "binding removed", 0.0, 0.0)])
    bound: list[bool] = []
    for at in (20.1, 20.0 + LOOK_INTERVAL + 1.0):
        play.world.after(at, lambda: bound.append(cast("Wire", play.kind).rabbit.is_bound))
    play.run()
    assert bound == [False, True]
