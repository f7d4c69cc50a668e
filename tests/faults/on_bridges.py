"""Faults of the bridges themselves."""

from __future__ import annotations

import signal
from random import Random

from tests.faults.cards import card, hold
from tests.faults.stage import REPLICAS, Stage

EVERY = range(REPLICAS)


@card("bridge killed", weight=3)
def kill_one(stage: Stage, dice: Random) -> None:
    slot = stage.pick(dice)
    stage.replicas[slot].kill()
    stage.start(slot)


@card("all bridges killed")
def kill_all(stage: Stage, dice: Random) -> None:
    for bridge in stage.replicas:
        bridge.kill()
    hold(dice)
    for slot in EVERY:
        stage.start(slot)


@card("bridge stopped", weight=2)
def stop_one(stage: Stage, dice: Random) -> None:
    slot = stage.pick(dice)
    assert 0 == stage.replicas[slot].stop(15), stage.replicas[slot].log()[-3:]
    stage.start(slot)


@card("all bridges stopped")
def stop_all(stage: Stage, dice: Random) -> None:
    stage.signal(signal.SIGTERM, *EVERY)
    for bridge in stage.replicas:
        assert 0 == bridge.process.wait(60), bridge.log()[-3:]
    hold(dice, 0, 2)
    for slot in EVERY:
        stage.start(slot)


@card("bridge frozen", weight=2)
def freeze_one(stage: Stage, dice: Random) -> None:
    slot = stage.pick(dice)
    stage.signal(signal.SIGSTOP, slot)
    hold(dice)
    stage.signal(signal.SIGCONT, slot)


@card("all bridges frozen")
def freeze_all(stage: Stage, dice: Random) -> None:
    stage.signal(signal.SIGSTOP, *EVERY)
    hold(dice)
    stage.signal(signal.SIGCONT, *EVERY)
