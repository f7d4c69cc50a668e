"""RabbitMQ's part of `check`: connect, and a finding on the exchange, each queue, parking, and whether events come."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from amqp.basic_message import Message
from amqp.exceptions import AMQPError

from celery_event_bridge.brokers.rabbitmq import feature_flags, management
from celery_event_bridge.brokers.rabbitmq.connection import abandon, ask, connect, translated
from celery_event_bridge.brokers.rabbitmq.feature_flags import concerned, is_off
from celery_event_bridge.brokers.rabbitmq.listening import event_findings, look
from celery_event_bridge.brokers.rabbitmq.mark import consequence
from celery_event_bridge.brokers.rabbitmq.nearly_full import bounds
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.topology import (
    HASH_EXCHANGE,
    Topology,
    declare_exchange,
    declare_hash_exchange,
    declare_queue,
)
from celery_event_bridge.brokers.rabbitmq.urls import Identity, identity
from celery_event_bridge.brokers.rabbitmq.witnesses import missing_queues
from celery_event_bridge.contract import Finding, SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

NOT_FOUND = 404
CLASSIC = (
    "BRIDGE_QUEUE_TYPE=classic: events waiting in a queue are lost when RabbitMQ restarts, and on the way to overflow "
    "in a crash; quorum queues keep them"
)
SAMPLE = 20
"""Parked messages whose sizes are looked at."""
TRIAL = 64
"""Bytes of a message that is published to the parking queue and taken back."""
ALARM_WAIT = 3.0
"""Seconds after which a publish without an answer counts as blocked."""


def findings(settings: Settings, location: Callable[[], str]) -> Iterator[Finding]:
    """Yield a verdict on each URL, and on what is on the broker. `location` as for `SinkMark`."""
    topology = Topology.from_settings(settings)
    if settings.queue_type == "classic":
        yield Finding("warn", CLASSIC)
    if topology.doubt:
        yield Finding("warn", topology.doubt)
    looked: set[Identity] = set()
    for url in settings.broker_urls:
        try:
            connection = connect(settings, url, role="check")
        except BrokerUnavailable as exc:
            yield Finding("FAIL", f"broker {exc}")
            continue
        yield Finding("ok", f"broker {hide_in_url(url)}: connected")
        try:
            at = identity(connection)
            if at not in looked:  # else it is a node of the same cluster
                looked.add(at)
                yield from _on_the_broker(settings, topology, connection, location)
                yield from _flags(settings, connection, url)
                yield from _shards(settings, topology, url)
        finally:
            abandon(connection)
    if looked:
        yield from management.findings(settings, topology)


def _on_the_broker(
    settings: Settings, topology: Topology, connection: amqp.Connection, location: Callable[[], str]
) -> Iterator[Finding]:
    exchange = _exchange(topology, connection, declare=settings.declare)
    yield exchange
    absent: set[str] = set()
    with translated("looking at the queues"):
        _, deleted = missing_queues(Questions(connection), topology)
    for queue in topology.queues:
        try:
            found = look(connection, queue.name)
            # It is there, so that this changes nothing and says whether the arguments are ours.
            if settings.declare:
                ask(connection, partial(declare_queue, queue=queue))
        except BrokerUnavailable as exc:
            if exc.code == NOT_FOUND:
                absent.add(queue.name)
            if exc.code == NOT_FOUND and settings.declare and queue.name in deleted:
                yield Finding(
                    "warn",
                    f"queue {queue.name}: not there, though a bridge was here before: it was deleted, and what it held "
                    "is gone; run will declare it anew. Did somebody, or a policy with `expires`, remove it?",
                )
            elif exc.code == NOT_FOUND and settings.declare:
                yield Finding("ok", f"queue {queue.name}: not there yet, run will declare it")
            else:
                yield Finding("FAIL", str(exc))
        else:
            yield _ready(queue.name, found.message_count, found.consumer_count, parked=queue is topology.rejected)
            yield from _nearly_full(topology, connection, queue.name, found.message_count)
    there = topology.rejected.name not in absent
    if there or settings.declare:
        yield from _parking(settings, topology, connection, there=there)
    yield from _other_deployment(settings, topology, connection, location)
    if exchange.verdict == "ok":
        yield from event_findings(topology, connection)


def _shards(settings: Settings, topology: Topology, url: str) -> Iterator[Finding]:
    """Try to have the exchange of the shards, on a connection of its own: a type that is unknown ends it."""
    if (name := topology.hash_exchange) is None or not settings.declare:
        return
    try:
        connection = connect(settings, url, role="check")
        try:
            if not Questions(connection).exists(name, HASH_EXCHANGE):
                name = f"{topology.name}.check.{uuid.uuid4().hex[:8]}"
            ask(connection, partial(declare_hash_exchange, name=name))
            if name != topology.hash_exchange:
                ask(connection, lambda channel: channel.exchange_delete(name))
        finally:
            abandon(connection)
    except (BrokerUnavailable, AMQPError, OSError) as exc:
        yield Finding(
            "FAIL", f"exchange {topology.hash_exchange}, by which {len(topology.lives)} shards get events: {exc}"
        )
    else:
        yield Finding(
            "ok", f"exchange {topology.hash_exchange}: each worker's events go to one of {len(topology.lives)} shards"
        )


def _flags(settings: Settings, connection: amqp.Connection, url: str) -> Iterator[Finding]:
    """Ask for the feature flag without which a queue loses what expires."""
    with suppress(BrokerUnavailable):
        if concerned(settings, connection) and is_off(settings, url):
            yield Finding("FAIL", feature_flags.text(settings.queue))


def _ready(queue: str, messages: int, consumers: int, *, parked: bool) -> Finding:
    if parked and messages:
        return Finding("warn", f"queue {queue}: {messages} messages are parked: `rejected list` says why")
    if messages and not consumers and not parked:
        return Finding(
            "warn",
            f"queue {queue}: {messages} messages ready, and nobody consumes them: does a bridge run on this broker, "
            "and does its sink store?",
        )
    return Finding("ok", f"queue {queue}: {counted(messages, 'message')} ready")


def _nearly_full(topology: Topology, connection: amqp.Connection, queue: str, messages: int) -> Iterator[Finding]:
    (bound,) = (bound for bound in bounds(topology) if bound.queue.name == queue)
    mean = 0.0
    if bound.queue is topology.rejected and messages:
        with suppress(BrokerUnavailable):  # without the right to read, a typical size will do
            mean = ask(connection, partial(_mean_body, queue))
    if text := bound.warning(messages, mean):
        yield Finding("warn", text)


def _mean_body(queue: str, channel: amqp.Channel) -> float:
    """Return the mean size of the oldest few, which go back with the channel."""
    channel.auto_decode = False
    found = (channel.basic_get(queue) for _ in range(SAMPLE))
    sizes = [len(message.body or b"") for message in found if message is not None]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _exchange(topology: Topology, connection: amqp.Connection, *, declare: bool) -> Finding:
    try:
        ask(connection, lambda channel: channel.exchange_declare(topology.exchange, "topic", passive=True))
    except BrokerUnavailable as exc:
        if exc.code == NOT_FOUND:
            if not declare:
                return Finding(
                    "FAIL",
                    f"exchange {topology.exchange}: not there, and BRIDGE_DECLARE=false leaves it and the binding to "
                    "you: no event is stored before `queues declare`, as a user who may, has made both",
                )
            return Finding("ok", f"exchange {topology.exchange}: not there yet, run or a worker will declare it")
        return Finding("FAIL", str(exc))
    if declare:
        try:
            # It is there, so that this changes nothing, and says whether it is of the right type.
            ask(connection, lambda channel: declare_exchange(channel, topology.exchange))
        except BrokerUnavailable as exc:
            return Finding("FAIL", str(exc))
    return Finding("ok", f"exchange {topology.exchange}")


def _parking(settings: Settings, topology: Topology, connection: amqp.Connection, *, there: bool) -> Iterator[Finding]:
    """Publish into the parking queue, within a transaction that is rolled back: nothing is left there."""
    name = topology.rejected.name
    try:
        _try_to_park(connection, name, TRIAL)
    except BrokerUnavailable as exc:
        yield Finding("FAIL", f"parking in {name} is not possible: {exc}")
        return
    if there:
        yield Finding("ok", f"parking in {name}: a message may be published there")
    size = settings.max_message_bytes
    try:
        _try_to_park(connection, name, size)
    except BrokerUnavailable as exc:
        yield Finding(
            "warn",
            f"parking in {name}: a message of BRIDGE_MAX_MESSAGE_BYTES={size} is not taken ({exc}): one that waits in "
            "a queue from before cannot be parked; raise RabbitMQ's max_message_size",
        )


def _try_to_park(connection: amqp.Connection, queue: str, size: int) -> None:
    """Raises BrokerUnavailable if the broker does not take a message of that size for the queue."""
    blocked: list[str] = []
    connection.on_blocked = blocked.append
    with translated(), connection.call(ALARM_WAIT):
        channel = connection.channel()
        channel.tx_select()
        channel.basic_publish(Message(b"x" * size), exchange="", routing_key=queue)
        try:
            channel.tx_rollback()
        except TimeoutError:
            if blocked:
                raise BrokerUnavailable("the broker blocks publishers (a memory or disk alarm)") from None
            raise
        channel.close()


def _other_deployment(
    settings: Settings, topology: Topology, connection: amqp.Connection, location: Callable[[], str]
) -> Iterator[Finding]:
    try:
        ours = location()
        text = consequence(connection, topology.name, ours, settings.event_types)
    except (SinkUnavailable, AMQPError, OSError):  # the sink's own findings say why; without a right nobody can tell
        return
    if text is not None:
        yield Finding("FAIL", f"{text} (these settings store in {ours})")
