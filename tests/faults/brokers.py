"""Faults of RabbitMQ and of the network in front of it."""

from __future__ import annotations

from random import Random

from tests import oracle
from tests.faults.cards import card, hold
from tests.faults.proxy import Mode, Proxy
from tests.faults.stage import Stage

QUEUE = "celeryev.bridge"


@card("connections closed", weight=2)
def close_connections(stage: Stage, _dice: Random) -> None:
    stage.rabbitmq.ctl("close_all_connections", "a fault")


@card("RabbitMQ stopped and started", weight=0.5)
def stop_app(stage: Stage, dice: Random) -> None:
    stage.rabbitmq.ctl("stop_app")
    hold(dice, 0, 2)
    stage.rabbitmq.ctl("start_app")


@card("RabbitMQ killed", weight=0.5)
def kill(stage: Stage, _dice: Random) -> None:
    stage.rabbitmq.await_queues_on_disk(stage.broker_url, 0)
    stage.rabbitmq.kill()
    stage.rabbitmq.start()


@card("memory alarm", weight=0.5)
def memory_alarm(stage: Stage, dice: Random) -> None:
    stage.rabbitmq.ctl("set_vm_memory_high_watermark", "0.000001")
    hold(dice, 1, 4)
    stage.rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")


@card("rights withdrawn", weight=0.5)
def withdraw_rights(stage: Stage, dice: Random) -> None:
    stage.allow("^$")
    stage.rabbitmq.ctl("close_all_connections", "a fault")
    hold(dice)
    stage.allow()


@card("overflow queue missing", weight=0.3)
def overflow_missing(stage: Stage, _dice: Random) -> None:
    # What is in it would be gone with it, by an operator's hand; a bridge declares it again.
    channel = oracle.broker(stage.broker_url).channel()
    channel.queue_delete(f"{QUEUE}.overflow", if_empty=False) if not oracle.depth(
        stage.broker_url, f"{QUEUE}.overflow"
    ) else None
    channel.connection.close()


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
