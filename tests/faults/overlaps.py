"""Two faults at once: the stream or the broker is away, or parking is, and a kill comes upon it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from tests.faults.cards import card, hold
from tests.faults.on_bridges import EVERY
from tests.faults.on_kafka import kafka_of
from tests.faults.on_redis import redis_of
from tests.faults.stage import Stage
from tests.support.servers.debian import until

ALL_BUT_PARKING = r"^(?!amq\.default$)"
"""Every exchange but the default one, through which a message is parked."""


@contextmanager
def stream_frozen(stage: Stage) -> Iterator[None]:
    """Inside, the stream answers nothing, and what the bridges have taken waits for it."""
    if stage.sink == "sqlite":
        stage.store.stop()
    else:
        (kafka_of if stage.sink == "kafka" else redis_of)(stage).pause()
    try:
        yield
    finally:
        if stage.sink == "sqlite":
            stage.store.start()
        else:
            (kafka_of if stage.sink == "kafka" else redis_of)(stage).resume()


@card("stream away for longer than messages live", weight=0.5)
def away_for_long(stage: Stage, dice: Random) -> None:
    """Events wait in overflow then; the bridges have let go."""
    with stream_frozen(stage):
        hold(dice, 7, 9)


@card("connections closed while the stream is away, then all killed", weight=2)
def verdicts_come_late(stage: Stage, dice: Random) -> None:
    """The verdicts on what the old channels brought come when the new channels' deliveries are in hand."""
    with stream_frozen(stage):
        hold(dice, 0.5, 1.5)
        stage.rabbitmq.ctl("close_all_connections", "a fault")
        # Until they hold as much as they may from the new channels.
        hold(dice, 0.5, 1.5)
    time.sleep(dice.uniform(0, 0.05))
    for bridge in stage.replicas:
        bridge.kill()
    for slot in EVERY:
        stage.start(slot)


@card("bridge killed while the stream is away", weight=2)
def killed_with_full_hands(stage: Stage, dice: Random) -> None:
    """What it holds is the others' at once, and they have hands full too."""
    with stream_frozen(stage):
        hold(dice, 0.5, 5)
        slot = stage.pick(dice)
        stage.replicas[slot].kill()
        hold(dice, 0.1, 1)
    stage.start(slot)


@card("all bridges stopped while the stream is away")
def stopped_with_full_hands(stage: Stage, dice: Random) -> None:
    """What they hold goes back; they are not long about it."""
    with stream_frozen(stage):
        hold(dice, 0.5, 2)
        for bridge in stage.replicas:
            bridge.process.terminate()
        until(lambda: all(bridge.process.poll() is not None for bridge in stage.replicas), 20, "all have ended")
    assert [0, 0, 0] == [bridge.process.poll() for bridge in stage.replicas]
    for slot in EVERY:
        stage.start(slot)


@card("all bridges killed while nothing can be parked")
def killed_with_parcels(stage: Stage, dice: Random) -> None:
    """What they could not park is still RabbitMQ's. The connections are new ones: a channel remembers its rights."""
    stage.allow(write=ALL_BUT_PARKING)
    stage.rabbitmq.ctl("close_all_connections", "a fault")
    hold(dice, 2, 4)
    for bridge in stage.replicas:
        bridge.kill()
    for slot in EVERY:
        stage.start(slot)
    stage.allow()
