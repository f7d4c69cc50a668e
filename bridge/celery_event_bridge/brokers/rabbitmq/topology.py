"""The exchange and the queues, declared in one place.

Each argument is there for a measured reason (docs/decisions/0003-queues.md), and none can be changed later
without a new queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from amqp.exceptions import AMQPError, PreconditionFailed

from celery_event_bridge.brokers.rabbitmq.arguments import TYPE, Mismatch, differences, mismatch
from celery_event_bridge.contract.values import with_remedy

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

DELIVERY_LIMIT = 1_000_000
"""Returns after which a quorum queue gives a message up. RabbitMQ 4's own limit of 20 would let a crash loop
throw good events away; -1, unlimited, parks at the first return on 3.10."""

LONG_TTL = 3600.0
"""Seconds above which BRIDGE_QUEUE_TTL is doubted."""
CHANNELS = 10
"""Channels on one connection, with some to spare: each refusal takes one until it is closed."""
HASH_EXCHANGE, HASH_PLUGIN = "x-consistent-hash", "rabbitmq_consistent_hash_exchange"
"""Type of an exchange, and RabbitMQ's plug-in that has it."""
WEIGHT = "1"
"""Routing key of a binding to it: the share of the queue, in relation to the others'."""


class QueueSpec(msgspec.Struct, frozen=True):
    """A queue and the arguments it is declared with."""

    name: str
    arguments: Mapping[str, Any]


class Topology(msgspec.Struct, frozen=True):
    """Parts that have to be on the broker."""

    exchange: str
    name: str
    """`BRIDGE_QUEUE`: the live queue's name, and the beginning of all other names."""
    lives: tuple[QueueSpec, ...]
    """Queues that events reach first: one, or a shard each."""
    overflow: QueueSpec | None
    rejected: QueueSpec
    ordered: bool = False
    """True if each of `lives` has a single active consumer, and keeps its order."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Topology:
        """Return the queues that the settings ask for."""
        quorum = settings.queue_type == "quorum"
        base: dict[str, Any] = {"x-queue-type": settings.queue_type}
        if quorum:
            base["x-delivery-limit"] = DELIVERY_LIMIT
        bounded = base | {"x-overflow": "drop-head"}
        live = base | {"x-overflow": "reject-publish", "x-max-length-bytes": settings.overflow_max_bytes}
        overflow = None
        ordered = settings.keeps_order
        if ordered:
            # What expires behind a message in hand would be in overflow before it: see decision 26.
            live["x-single-active-consumer"] = True
            if settings.shards > 1:
                # In a cluster each on another node; by default all are led by the node of whoever declares them.
                live["x-queue-leader-locator"] = "balanced"
        elif settings.queue_ttl:
            overflow = QueueSpec(
                f"{settings.queue}.overflow", bounded | {"x-max-length-bytes": settings.overflow_max_bytes}
            )
            live |= {
                "x-message-ttl": max(1, round(settings.queue_ttl * 1000)),
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": overflow.name,
            }
            if quorum:
                live["x-dead-letter-strategy"] = "at-least-once"
        rejected = QueueSpec(
            f"{settings.queue}.rejected", bounded | {"x-max-length-bytes": settings.rejected_max_bytes}
        )
        names = [f"{settings.queue}.{number}" for number in range(settings.shards)] if ordered else [settings.queue]
        lives = tuple(QueueSpec(name, live) for name in names)
        return cls(settings.event_exchange, settings.queue, lives, overflow, rejected, ordered)

    @property
    def live(self) -> QueueSpec:
        """The first of `lives`."""
        return self.lives[0]

    @property
    def live_names(self) -> frozenset[str]:
        """Names of `lives`."""
        return frozenset(queue.name for queue in self.lives)

    @property
    def consumed(self) -> tuple[QueueSpec, ...]:
        """Queues that bridges consume: the live ones first."""
        return (*self.lives, self.overflow) if self.overflow else self.lives

    @property
    def queues(self) -> tuple[QueueSpec, ...]:
        """Parts in the order of their declaration: a dead-letter route's target has to be there before its source."""
        return tuple(queue for queue in (self.rejected, self.overflow, *self.lives) if queue)

    @property
    def hash_exchange(self) -> str | None:
        """Name of the exchange between the event exchange and the shards; None where there is one queue."""
        return f"{self.name}.shards" if len(self.lives) > 1 else None

    @property
    def witness(self) -> str:
        """Name of the exchange that is gone once the event exchange has been deleted: see `declare_witness`."""
        return f"{self.name}.witness"

    @property
    def queue_witness(self) -> str:
        """Name of the exchange that is gone once the live queue has been deleted: see `declare_witness`."""
        return f"{self.name}.witness.queue"

    @property
    def mark(self) -> str:
        """Name of the exchange that is there while a bridge is bound to the event exchange: see `declare_mark`."""
        return f"{self.exchange}.bridged"

    @property
    def doubt(self) -> str:
        """Line on a TTL that was hardly meant, said before it cannot be changed any more; empty if there is none."""
        seconds = self.live.arguments.get("x-message-ttl", 0) / 1000
        if seconds <= LONG_TTL:
            return ""
        return (
            f"BRIDGE_QUEUE_TTL={seconds:g} is in seconds, {seconds / 3600:.3g} hours for which events wait in the live "
            f"queue, in the way of fresh ones, before they move to overflow: if ms were meant, say {seconds / 1000:g}. "
            f"Queue {self.live.name!r} keeps what it was declared with; `queues migrate` moves to another"
        )

    def declare(self, channel: amqp.Channel) -> None:
        """Declare the exchange and the queues and bind them. Raises what the client raises: see `explain`."""
        declare_exchange(channel, self.exchange)
        for queue in self.queues:
            declare_queue(channel, queue)
        self.bind(channel)

    def bind(self, channel: amqp.Channel) -> None:
        """Bind the live queues to the exchange; a no-op where they are. Raises what the client raises."""
        if (shards := self.hash_exchange) is None:
            channel.queue_bind(self.live.name, self.exchange, routing_key="#")
            return
        declare_hash_exchange(channel, shards)
        for queue in self.lives:
            channel.queue_bind(queue.name, shards, routing_key=WEIGHT)
        # Last: nothing reaches an exchange that would not pass it on to every shard.
        channel.exchange_bind(shards, self.exchange, routing_key="#")


def declare_exchange(channel: amqp.Channel, name: str) -> None:
    """Declare Celery's event exchange, as Celery does; a no-op where it exists. Raises what the client raises."""
    channel.exchange_declare(name, "topic", durable=True, auto_delete=False)


def declare_hash_exchange(channel: amqp.Channel, name: str) -> None:
    """Declare the exchange that gives each worker's events to one shard. Raises what the client raises."""
    arguments = {"hash-header": "hostname"}
    channel.exchange_declare(name, HASH_EXCHANGE, durable=True, auto_delete=False, arguments=arguments)


def declare_witness(channel: amqp.Channel, topology: Topology) -> None:
    """Declare two exchanges that delete themselves with their only binding, to the event exchange and the live queue.

    Nothing is ever published there. When the event exchange, or the queue, is deleted the binding goes, and the witness
    with it, also if that is declared anew at once. Raises what the client raises.
    """
    channel.exchange_declare(topology.witness, "fanout", durable=True, auto_delete=True)
    channel.exchange_bind(topology.exchange, topology.witness)
    channel.exchange_declare(topology.queue_witness, "fanout", durable=True, auto_delete=True)
    for queue in topology.lives:
        channel.queue_bind(queue.name, topology.queue_witness)


def declare_mark(channel: amqp.Channel, topology: Topology) -> None:
    """Declare an exchange that deletes itself with its last binding, to the live queue of each bridge.

    Nothing is ever published there. By it `replay` knows that a bridge would get what it publishes, whatever that
    bridge's queue is called. Raises what the client raises.
    """
    channel.exchange_declare(topology.mark, "fanout", durable=True, auto_delete=True)
    for queue in topology.lives:
        channel.queue_bind(queue.name, topology.mark)


def declare_queue(channel: amqp.Channel, queue: QueueSpec) -> None:
    """Declare one queue; a no-op where it exists with the same arguments. Raises what the client raises."""
    connection = channel.connection  # a channel that is closed has none
    try:
        declare_as_asked(channel, queue)
    except PreconditionFailed as exc:
        name_the_type(connection, queue, exc)
        raise


def declare_as_asked(channel: amqp.Channel, queue: QueueSpec) -> None:
    """Declare it without another question. Raises what the client raises."""
    channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=dict(queue.arguments))


def name_the_type(connection: amqp.Connection, queue: QueueSpec, refusal: PreconditionFailed) -> None:
    """Let a refusal for any argument name the queue's type where that differs too, as nothing else matters then.

    RabbitMQ compares the type last. Raises what the client raises.
    """
    found = differences(connection, queue.name, queue.arguments, str(refusal.reply_text))
    if TYPE in found:
        is_so, asked = found[TYPE]
        named = f"inequivalent arg '{TYPE}' for queue '{queue.name}': received '{asked}' but current is '{is_so}'"
        refusal.reply_text = named


_SETTINGS_BY_ARGUMENT = {
    "x-message-ttl": "BRIDGE_QUEUE_TTL",
    "x-queue-type": "BRIDGE_QUEUE_TYPE",
    "x-max-length-bytes": "BRIDGE_OVERFLOW_MAX_BYTES or BRIDGE_REJECTED_MAX_BYTES",
    "x-dead-letter-exchange": "BRIDGE_QUEUE_TTL",
    "x-dead-letter-routing-key": "BRIDGE_QUEUE_TTL",
}


_REMEDIES = {
    403: "grant this user configure, write and read there, or declare the queues as a user who may and set "
    "BRIDGE_DECLARE=false",
    404: "declare it, `celery-event-bridge queues declare` does, as does `run` with BRIDGE_DECLARE=true",
}


def explain(error: Exception) -> str:
    """Line for an operator: what the broker refused, and the ways out. Contains no secret."""
    text = getattr(error, "reply_text", None) if isinstance(error, AMQPError) else None
    if not text:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    code = getattr(error, "reply_code", 0)
    if code == 406 and (named := mismatch(text)):
        return _explain_mismatch(named)
    if code in _REMEDIES:
        return with_remedy(text, _REMEDIES[code])
    if code == 503 and HASH_EXCHANGE in text:
        return with_remedy(
            text,
            f"shards need RabbitMQ's plug-in {HASH_PLUGIN}, which comes with it: `rabbitmq-plugins enable "
            f"{HASH_PLUGIN}` on each node, without a restart; or set BRIDGE_SHARDS=1",
        )
    if code in (506, 530) and "channel" in text:
        return (
            f"{code} {text}: a connection of a bridge needs {CHANNELS} channels; raise RabbitMQ's channel_max, or the "
            "user's limit max-channels"
        )
    return f"{code} {text}"


def _explain_mismatch(named: Mismatch) -> str:
    argument, kind, name, found, asked = named
    if kind == "exchange":
        return (
            f"exchange {name!r} exists with {argument}={found}, Celery's is {argument}={asked}: delete it, if it is "
            "the one that Celery's event_exchange names, and workers and the bridge declare it anew; else set "
            "BRIDGE_EVENT_EXCHANGE to that one"
        )
    if argument == TYPE and found == "stream":
        return (
            f"queue {name!r} is a stream, which forgets nothing that is consumed: choose another name with "
            "BRIDGE_QUEUE; or delete it, and the bridge declares it as it has to be"
        )
    setting = _SETTINGS_BY_ARGUMENT.get(argument)
    match_it = f"set {setting} to match it" if setting else "delete it once it is empty"
    live = name.removesuffix(".overflow").removesuffix(".rejected")
    return (
        f"queue {name!r} exists with {argument}={found}, the settings ask for {argument}={asked}: "
        f"{match_it}, or choose another name with BRIDGE_QUEUE and move with `queues migrate --from {live}`"
    )
