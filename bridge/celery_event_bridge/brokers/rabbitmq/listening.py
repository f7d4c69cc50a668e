"""A part of `check`: whether events are published, and reach the queue."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AccessRefused

from celery_event_bridge.brokers.rabbitmq.connection import ask, translated
from celery_event_bridge.contract import Finding
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.topology import Topology

NOT_FOUND = 404
LISTEN = 5.0
"""Seconds to wait for an event: a worker that sends events has a heartbeat every two."""
COUNTED_WITHIN = 8.0
"""Seconds after which a quorum queue, and the one that it expires into, certainly show a message: each counts every
five (seen with 3.10.8)."""
PAUSE = 0.2
"""Seconds between two looks at their counts."""


def event_findings(topology: Topology, connection: amqp.Connection) -> Iterator[Finding]:
    """Listen at the exchange with a queue of our own for a moment, and see whether our queue gets what comes."""
    came: list[Any] = []
    try:
        with translated():
            channel = connection.channel()
            channel.auto_decode = False
            # Under a name of ours: so a user with the documented rights may declare it.
            queue = f"{topology.name}.check.{uuid.uuid4().hex[:8]}"
            channel.queue_declare(queue, exclusive=True, arguments={"x-max-length": 1000})
            channel.queue_bind(queue, topology.exchange, routing_key="#")
            before = _waiting(topology, connection)
            channel.basic_consume(queue, no_ack=True, callback=came.append)
            deadline = Deadline(LISTEN)
            while not came and not deadline.passed:
                try:
                    connection.drain_events(timeout=max(0.01, deadline.left()))
                except TimeoutError:
                    break
            channel.close()
            reached = not came or _gets_longer(topology, connection, before)
    except BrokerUnavailable as exc:
        if exc.code == NOT_FOUND:  # the exchange is not there yet
            yield Finding("warn", f"exchange {topology.exchange}: no event can have been published yet")
        elif exc.code == AccessRefused.code:
            yield Finding(
                "ok",
                f"exchange {topology.exchange}: whether events are published is not looked at: this user needs "
                f"configure, write and read on {topology.name}.*, and read on {topology.exchange}",
            )
        else:
            yield Finding("warn", f"whether events are published cannot be seen: {exc}")
        return
    if not came:
        yield Finding(
            "warn",
            f"exchange {topology.exchange}: no event in {LISTEN:g} s: do workers run, and with -E "
            "(worker_send_task_events), and is BRIDGE_EVENT_EXCHANGE what Celery's event_exchange says?",
        )
    elif not reached:
        yield Finding(
            "FAIL",
            f"events are published to exchange {topology.exchange}, and none reaches queue {topology.name}: it is "
            "not bound to it; `queues declare` binds it, and so does `run` with BRIDGE_DECLARE=true",
        )
    else:
        yield Finding("ok", f"exchange {topology.exchange}: events are published")


def _gets_longer(topology: Topology, connection: amqp.Connection, before: tuple[int, int] | None) -> bool:
    """Return whether our queues have got longer; also where somebody consumes them, or nobody can tell."""
    deadline = Deadline(COUNTED_WITHIN)
    while True:
        after = _waiting(topology, connection)
        if before is None or after is None or before[1] or after[1] or after[0] > before[0]:
            return True
        if deadline.passed:
            return False
        time.sleep(PAUSE)


def _waiting(topology: Topology, connection: amqp.Connection) -> tuple[int, int] | None:
    """Ready messages in live and overflow, and their consumers; None where live is not there."""
    messages = consumers = 0
    for queue in topology.consumed:
        try:
            found = look(connection, queue.name)
        except BrokerUnavailable:
            return None
        messages, consumers = messages + found.message_count, consumers + found.consumer_count
    return messages, consumers


def look(connection: amqp.Connection, queue: str) -> Any:
    """Return what a passive declare of a queue says. Raises BrokerUnavailable."""
    return ask(connection, lambda channel: channel.queue_declare(queue, passive=True))
