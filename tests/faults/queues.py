"""Faults of the bridge's queues."""

from __future__ import annotations

import signal
from random import Random

import amqp

from tests.faults.cards import card, hold
from tests.faults.proxy import Mode
from tests.faults.stage import CONSUMER_TIMEOUT, DEAD_LETTER_RETRY, REPLICAS, VHOST, Stage
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.servers.debian import until

QUEUE = "celeryev.bridge"
OVERFLOW = f"{QUEUE}.overflow"
EXCHANGE = "celeryev"
EMPTY_NOW = r"^celeryev\.bridge(\.overflow)?$"
"""Queues in which nothing is while nothing is published; what is parked would be destroyed."""
LOOKED_AT = 20.0
"""Seconds within which a bridge has looked again at what it relies on."""
TTL = 5.0
"""Seconds after which a message goes on to overflow, unless a setting says otherwise."""
RETURNED = 10
"""Messages at the head of the queue."""
EVERY = range(REPLICAS)


@card("queue deleted", weight=0.5)
def queue_deleted(stage: Stage, _dice: Random) -> None:
    # While there is nothing in it, since that would be destroyed by whoever deleted it.
    with stage.quiet():
        delete(stage, QUEUE)
        until(lambda: "celeryev\t" in stage.bindings(QUEUE), 20, "a bridge has declared and bound it again")


@card("binding removed", weight=0.5)
def binding_removed(stage: Stage, _dice: Random) -> None:
    # While nothing is published, since what passes by an exchange without a binding was never in any queue.
    with stage.quiet():
        connection = oracle.broker(stage.broker_url)
        connection.channel().queue_unbind(QUEUE, EXCHANGE, "#")
        connection.close()
        until(lambda: f"{EXCHANGE}\t" in stage.bindings(QUEUE), LOOKED_AT, "a bridge has bound it again")


@card("exchange deleted and declared anew", weight=0.5)
def exchange_deleted(stage: Stage, _dice: Random) -> None:
    with stage.quiet():
        connection = oracle.broker(stage.broker_url)
        channel = connection.channel()
        channel.exchange_delete(EXCHANGE)
        channel.exchange_declare(EXCHANGE, "topic", durable=True, auto_delete=False)
        connection.close()
        until(lambda: f"{EXCHANGE}\t" in stage.bindings(QUEUE), LOOKED_AT, "a bridge has bound it again")


@card("queues removed by a policy", weight=0.3)
def policy_set(stage: Stage, _dice: Random) -> None:
    """With `expires`, which removes queues that nobody consumes, while no bridge runs."""
    with stage.quiet():
        for bridge in stage.replicas:
            bridge.kill()
        policy = ("everything", EMPTY_NOW, '{"expires":500}', "--apply-to", "queues")
        stage.rabbitmq.ctl("set_policy", "-p", VHOST, *policy)
        names = ("list_queues", "-p", VHOST, "name")
        until(lambda: QUEUE not in stage.rabbitmq.ctl(*names).split(), 20, "the queue is gone")
        stage.rabbitmq.ctl("clear_policy", "-p", VHOST, "everything")
        for slot in EVERY:
            stage.start(slot)
        until(lambda: f"{EXCHANGE}\t" in stage.bindings(QUEUE), 30, "a bridge has declared and bound it again")


@card("queues removed while messages wait for their dead-letter route", weight=0.05)
def removed_while_held_back(stage: Stage, dice: Random) -> None:
    """The operator's command has to refuse: they are neither ready nor in anybody's hand."""
    overflow_missing(stage, dice)
    for bridge in stage.replicas:
        bridge.kill()
    command = ("celery_event_bridge", "queues", "remove")
    done = run_to_end(*command, timeout=DEAD_LETTER_RETRY + 60, BRIDGE_BROKER_URL=stage.broker_url)
    assert done.returncode == 1, done.stdout + done.stderr
    for slot in EVERY:
        stage.start(slot)


@card("overflow queue missing for a moment", weight=0.3)
def overflow_missing(stage: Stage, dice: Random) -> None:
    # While nothing is in it, nor held of it: that would be destroyed by whoever deleted it.
    with stage.quiet():
        stage.signal(signal.SIGSTOP, *EVERY)
        delete(stage, OVERFLOW)
    # Until messages expire with nowhere to go: they stay, and RabbitMQ tries again after 180 s.
    hold(dice, TTL, TTL + 2)
    stage.signal(signal.SIGCONT, *EVERY)


@card("messages come back thirty times", weight=0.2)
def returned(stage: Stage, dice: Random) -> None:
    """From overflow, which has no dead-letter route: RabbitMQ 4 would throw them away after twenty times."""
    for bridge in stage.replicas:
        bridge.kill()
    # Long, if overflow was missing a moment ago.
    until(
        lambda: oracle.depth(stage.broker_url, OVERFLOW) > RETURNED, DEAD_LETTER_RETRY + 20, "messages are in overflow"
    )
    connection = oracle.broker(stage.broker_url)
    for _ in range(30):
        channel = connection.channel()
        for _ in range(RETURNED):
            channel.basic_get(OVERFLOW)
        channel.close()
    connection.close()
    for slot in EVERY:
        stage.start(slot)


def delete(stage: Stage, queue: str) -> None:
    connection = oracle.broker(stage.broker_url)
    connection.channel().queue_delete(queue)
    connection.close()


@card("channel closed by the consumer timeout", weight=0.2)
def consumer_timeout(stage: Stage, _dice: Random) -> None:
    slots = range(1)
    stage.signal(signal.SIGSTOP, *slots)
    hold(Random(0), CONSUMER_TIMEOUT + 2.5, CONSUMER_TIMEOUT + 2.5)
    stage.signal(signal.SIGCONT, *slots)


@card("somebody else consumes exclusively", weight=0.5)
def exclusive_clash(stage: Stage, dice: Random) -> None:
    stage.network.mode = Mode.REFUSE
    stage.network.cut()
    connection = oracle.broker(stage.broker_url)
    channel = connection.channel()

    def taken() -> bool:
        nonlocal channel
        try:
            channel.basic_qos(0, 1, False)
            channel.basic_consume(QUEUE, exclusive=True, callback=lambda _: None)
        except amqp.AccessRefused:
            channel = connection.channel()
            raise
        return True

    try:
        until(taken, 20, "the queue is consumed exclusively")
        stage.network.heal()
        hold(dice, 1, 4)
    finally:
        stage.network.heal()
        connection.close()
