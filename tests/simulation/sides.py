"""Two sides of a comparison: a RabbitMQ that runs, and the model of it, asked for the same things."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import amqp

from tests.simulation.messages import Published
from tests.simulation.rabbitmq.modelled_queues import Queue
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel, RabbitMQ
from tests.simulation.scheduler import World
from tests.support import oracle

TTL = 2.0
"""Seconds that a message lives in these queues."""
SETTLED = 0.12
"""Seconds without a delivery after which nothing more is on its way."""
PATIENCE = 1.0
"""Seconds that deliveries are waited for that the model has: a busy machine is no difference."""
BODY = 100
BOUND = 20 * BODY
"""Bytes that overflow takes."""


class Seen(NamedTuple):
    """A delivery as a client sees it."""

    number: int
    redelivered: bool


class Side(Protocol):
    """One of the two."""

    def publish(self, numbers: Sequence[int]) -> int:
        """Publish these; returns how many were confirmed."""

    def consume(self, queue: str, prefetch: int) -> None:
        """Open a channel that consumes."""

    def acknowledge(self, number: int, *, multiple: bool) -> None:
        """Acknowledge this one."""

    def reject(self, number: int) -> None:
        """Give this one back."""

    def close(self) -> None:
        """Close the channel."""

    def wait(self, seconds: float) -> Sequence[Seen]:
        """Let time pass, and return what was delivered since the last call."""

    def left(self) -> tuple[list[int], list[int]]:
        """Return what waits in the live queue and in overflow, in order."""


class Modelled:
    """The model's side."""

    def __init__(self) -> None:
        self._world = World("honesty")
        self._rabbit = RabbitMQ(self._world, lambda *_: None, bound=10**9, overflow=BOUND)
        self._rabbit.live.ttl = TTL
        self._connection = self._rabbit.connect("honesty", self._arrived)
        self._channel: Channel | None = None
        self._tags: dict[int, int] = {}
        self._arrivals: list[Seen] = []

    def publish(self, numbers: Sequence[int]) -> int:
        made = [
            Published(one, b"%d" % one + b"x" * (BODY - len(str(one))), "", {}, (), (), junk=False) for one in numbers
        ]
        return sum(self._rabbit.publish(one) for one in made)

    def consume(self, queue: str, prefetch: int) -> None:
        self._channel = Channel(self._connection, self._queue(queue))
        self._connection.channels.append(self._channel)
        self._channel.consume(prefetch)

    def acknowledge(self, number: int, *, multiple: bool) -> None:
        assert self._channel is not None
        self._channel.acknowledge(self._tags[number], multiple=multiple)

    def reject(self, number: int) -> None:
        assert self._channel is not None
        self._channel.reject(self._tags[number])

    def close(self) -> None:
        assert self._channel is not None
        self._channel.close()

    def wait(self, seconds: float) -> Sequence[Seen]:
        self._world.run(self._world.now + max(seconds, SETTLED))
        arrived, self._arrivals = self._arrivals, []
        return arrived

    def left(self) -> tuple[list[int], list[int]]:
        queues = (self._rabbit.live, self._rabbit.overflow)
        live, overflow = ([one.message.number for one in (*queue.returned, *queue.ready)] for queue in queues)
        return live, overflow

    def _queue(self, name: str) -> Queue:
        return self._rabbit.live if name == "live" else self._rabbit.overflow

    def _arrived(self, deliveries: list[tuple[Channel, int, object]]) -> None:
        for _, tag, entry in deliveries:
            self._tags[entry.message.number] = tag  # type: ignore[attr-defined]
            self._arrivals.append(Seen(entry.message.number, entry.returned))  # type: ignore[attr-defined]


class Real:
    """The side of a server that runs."""

    def __init__(self, url: str, name: str, expected: Sequence[int]) -> None:
        """Begin; after each step as many deliveries are waited for as are expected, for up to PATIENCE seconds."""
        self._expected = iter(expected)
        self._connection = oracle.broker(url)
        self._control = self._connection.channel()
        self._names = {"live": f"{name}.live", "overflow": f"{name}.overflow"}
        self._control.queue_declare(
            self._names["overflow"],
            durable=True,
            auto_delete=False,
            arguments={"x-queue-type": "quorum", "x-max-length-bytes": BOUND, "x-overflow": "drop-head"}
            | {"x-delivery-limit": 1_000_000},
        )
        self._control.queue_declare(
            self._names["live"],
            durable=True,
            auto_delete=False,
            arguments={
                "x-queue-type": "quorum",
                "x-message-ttl": int(TTL * 1000),
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self._names["overflow"],
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
                "x-delivery-limit": 1_000_000,
            },
        )
        self._control.confirm_select()
        self._channel: amqp.Channel | None = None
        self._tags: dict[int, int] = {}
        self._arrivals: list[Seen] = []

    def publish(self, numbers: Sequence[int]) -> int:
        for number in numbers:
            self._control.basic_publish_confirm(amqp.Message(body(number)), "", self._names["live"])
        return len(numbers)

    def consume(self, queue: str, prefetch: int) -> None:
        self._channel = self._connection.channel()
        self._channel.basic_qos(0, prefetch, False)
        self._channel.basic_consume(self._names[queue], callback=self._arrived)

    def acknowledge(self, number: int, *, multiple: bool) -> None:
        assert self._channel is not None
        self._channel.basic_ack(self._tags[number], multiple)

    def reject(self, number: int) -> None:
        assert self._channel is not None
        self._channel.basic_reject(self._tags[number], requeue=True)

    def close(self) -> None:
        assert self._channel is not None
        self._channel.close()
        self._channel = None

    def wait(self, seconds: float) -> Sequence[Seen]:
        begin, expected = time.monotonic(), next(self._expected, 0)
        settled = begin + max(seconds, SETTLED)
        while True:
            short = len(self._arrivals) < expected
            left = (max(settled, begin + PATIENCE) if short else settled) - time.monotonic()
            if left <= 0:
                break
            try:
                self._connection.drain_events(timeout=min(left, SETTLED))
            except TimeoutError:
                continue
            settled = max(settled, time.monotonic() + SETTLED)
        arrived, self._arrivals = self._arrivals, []
        return arrived

    def left(self) -> tuple[list[int], list[int]]:
        found = []
        for name in self._names.values():
            numbers = []
            while (message := self._control.basic_get(name, no_ack=True)) is not None:
                numbers.append(
                    int(message.body.rstrip("x") if isinstance(message.body, str) else message.body.rstrip(b"x"))
                )
            found.append(numbers)
            self._control.queue_delete(name)
        self._connection.close()
        return found[0], found[1]

    def _arrived(self, message: amqp.Message) -> None:
        number = number_of(message)
        self._tags[number] = message.delivery_info["delivery_tag"]
        self._arrivals.append(Seen(number, message.delivery_info["redelivered"]))


def body(number: int) -> bytes:
    """Return the body of a message, which says its number and is as long as all others."""
    return (b"%d" % number).ljust(BODY, b"x")


def number_of(message: amqp.Message) -> int:
    """Return the number in a body, which py-amqp has as text where it can."""
    text = message.body if isinstance(message.body, str) else message.body.decode()
    return int(text.rstrip("x"))
