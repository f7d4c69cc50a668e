"""The same schedules against a real RabbitMQ and against the model: `python -m tests.simulation.honesty [--count 300]`.

A schedule publishes, consumes with a small prefetch, acknowledges one or several, rejects, closes the channel, fills a
bounded overflow, and waits past the time to live. After each step both sides are asked what was delivered, again or for
the first time; at the end, what waits where. What differs is printed, and is a fault of the model or of this page.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import amqp

from tests.simulation.messages import Published
from tests.simulation.modelled_queues import Queue
from tests.simulation.modelled_rabbitmq import Channel, RabbitMQ
from tests.simulation.scheduler import World
from tests.support import oracle
from tests.support.servers.rabbitmq import NativeRabbitMQ

TTL = 2.0
"""Seconds that a message lives in these queues."""
LONG = 3.5
"""Seconds of a wait that certainly outlives it."""
SETTLED = 0.12
"""Seconds without a delivery after which nothing more is on its way."""
PATIENCE = 1.0
"""Seconds that deliveries are waited for that the model has: a busy machine is no difference."""
AT_ONCE = 16
"""Schedules that run side by side: their time is nearly all waiting."""
BODY = 100
BOUND = 20 * BODY
"""Bytes that overflow takes."""


class Step(NamedTuple):
    """An action, and a number for it between 0 and 1."""

    what: str
    much: float


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


def drawn(seed: int) -> list[Step]:
    """Draw a schedule: a few steps that are quick beside the time to live, then a wait that outlives it, twice over."""
    draw = random.Random(f"honesty {seed}")
    steps: list[Step] = []
    for _ in range(2):
        steps += [Step("publish", draw.random()), Step("consume", draw.random())]
        for _ in range(draw.randint(2, 4)):
            what = draw.choices(
                ["publish", "consume", "consume overflow", "ack", "ack all before", "reject", "close"],
                [4, 4, 1, 3, 2, 2, 1],
            )[0]
            steps.append(Step(what, draw.random()))
        steps.append(Step("wait", draw.random()))
    return steps


def played(steps: Sequence[Step], side: Side) -> list[object]:
    """Play a schedule; returns what was seen after each step, and at the end."""
    number, in_hand, seen = 0, [], []
    open_queue = ""
    for step in steps:
        confirmed: object = ""
        if step.what == "publish":
            count = 1 + int(step.much * 12)
            confirmed = side.publish(range(number, number + count))
            number += count
        elif step.what.startswith("consume"):
            queue = "overflow" if "overflow" in step.what else "live"
            if not open_queue:
                open_queue = queue
                side.consume(queue, 1 + int(step.much * 6))
        elif step.what == "close" and open_queue:
            side.close()
            open_queue, in_hand = "", []
        elif step.what != "wait" and in_hand:
            at = int(step.much * len(in_hand))
            if step.what == "reject":
                side.reject(in_hand.pop(at))
            elif step.what == "ack":
                side.acknowledge(in_hand.pop(at), multiple=False)
            else:
                side.acknowledge(in_hand[at], multiple=True)
                del in_hand[: at + 1]
        arrived = side.wait(LONG if step.what == "wait" else 0.0)
        in_hand += [one.number for one in arrived]
        seen.append((step.what, confirmed, list(arrived)))
    if open_queue:
        side.close()
    side.wait(0.2)
    return [*seen, side.left()]


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


def difference(url: str, seed: int) -> str:
    """Return how the two differ in one schedule, or nothing."""
    steps = drawn(seed)
    model = played(steps, Modelled())
    expected = [len(step[2]) for step in model[:-1]]
    real = played(steps, Real(url, f"honesty.{seed}", expected))
    for number, (one, other) in enumerate(zip(real, model, strict=True)):
        if one != other:
            return f"seed {seed}, step {number} of {[step.what for step in steps]}:\n  real  {one}\n  model {other}"
    return ""


@contextmanager
def server() -> Iterator[str]:
    """Start a RabbitMQ of our own."""
    rabbitmq = NativeRabbitMQ()
    try:
        rabbitmq.start()
        yield rabbitmq.new_vhost()
    finally:
        rabbitmq.remove()


def main() -> int:
    """Print what differs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.honesty", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="schedules (300)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (1)")
    options = parser.parse_args()
    with server() as url, ThreadPoolExecutor(AT_ONCE) as pool:
        found = [*pool.map(lambda seed: difference(url, seed), range(options.seed, options.seed + options.count))]
    differing = [one for one in found if one]
    for one in differing[:10]:
        print(one)
    print(f"{options.count} schedules: {options.count - len(differing)} the same, {len(differing)} differ")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
