"""Faults of RabbitMQ."""

from __future__ import annotations

from random import Random

from tests.faults.cards import card, hold
from tests.faults.stage import Stage


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


@card("disk alarm", weight=0.5)
def disk_alarm(stage: Stage, dice: Random) -> None:
    stage.rabbitmq.ctl("set_disk_free_limit", "900000GB")
    hold(dice, 1, 4)
    stage.rabbitmq.ctl("set_disk_free_limit", "1MB")


@card("leader of the queue killed", nodes=3, weight=3)
def leader_killed(stage: Stage, dice: Random) -> None:
    others = [node for node in stage.nodes if node is not stage.leader()]
    victim = next(node for node in stage.nodes if node not in others)
    for node in stage.nodes:
        node.await_queues_on_disk(stage.broker_url, 0)
    victim.kill()
    hold(dice)
    victim.start()


@card("two of three nodes killed", nodes=3)
def majority_killed(stage: Stage, dice: Random) -> None:
    victims = dice.sample(stage.nodes, 2)
    for victim in victims:
        victim.kill()
    hold(dice)
    for victim in victims:
        victim.start()
