"""Faults of the network, to the broker or to the stream."""

from __future__ import annotations

from random import Random

from tests.faults.cards import card, hold
from tests.faults.proxy import Mode, Proxy
from tests.faults.stage import Stage


def networks(stage: Stage, dice: Random) -> Proxy:
    """The network to the broker, or to the stream where that has one."""
    choices = [stage.network, *([stage.stream_network] if stage.sink == "redis" else [])]
    return dice.choice(choices)


@card("network cut", weight=2)
def cut(stage: Stage, dice: Random) -> None:
    networks(stage, dice).cut()


@card("network refuses")
def refuse(stage: Stage, dice: Random) -> None:
    network = networks(stage, dice)
    network.mode = Mode.REFUSE
    network.cut()
    hold(dice)
    network.heal()


@card("connections half open")
def half_open(stage: Stage, dice: Random) -> None:
    network = networks(stage, dice)
    network.half_open()
    hold(dice)
    network.heal()


@card("network stalls", weight=2)
def stall(stage: Stage, dice: Random) -> None:
    network = networks(stage, dice)
    network.mode = Mode.STALL
    hold(dice, 0.2, 8)
    network.heal()


@card("network stalls for longer than the heartbeat", weight=0.1)
def stall_long(stage: Stage, _dice: Random) -> None:
    stage.network.mode = Mode.STALL
    hold(Random(0), 35, 35)
    stage.network.heal()


@card("replies dropped")
def drop_replies(stage: Stage, dice: Random) -> None:
    network = networks(stage, dice)
    network.mode = Mode.DROP_REPLIES
    hold(dice)
    network.heal()


@card("bytes trickle")
def trickle(stage: Stage, dice: Random) -> None:
    network = networks(stage, dice)
    network.mode = Mode.TRICKLE
    hold(dice)
    network.heal()
