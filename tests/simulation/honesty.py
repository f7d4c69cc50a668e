"""The same schedules against a real RabbitMQ and against the model: `python -m tests.simulation.honesty [--count 300]`.

A schedule publishes, consumes with a small prefetch, acknowledges one or several, rejects, closes the channel, fills a
bounded overflow, and waits past the time to live. After each step both sides are asked what was delivered, again or for
the first time; at the end, what waits where. What differs is printed, and is a fault of the model or of this page.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from tests.simulation.sides import Modelled, Real, Side
from tests.support.servers.rabbitmq import NativeRabbitMQ

LONG = 3.5
"""Seconds of a wait that certainly outlives it."""
AT_ONCE = 16
"""Schedules that run side by side: their time is nearly all waiting."""


class Step(NamedTuple):
    """An action, and a number for it between 0 and 1."""

    what: str
    much: float


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


def difference(url: str, seed: int, attempts: int = 3) -> str:
    """Return how the two differ in one schedule, or nothing.

    On a busy machine a message may outlive its time between two steps: a difference of the model's is there each time.
    """
    steps = drawn(seed)
    model = played(steps, Modelled())
    expected = [len(step[2]) for step in model[:-1]]
    found = ""
    for attempt in range(attempts):
        real = played(steps, Real(url, f"honesty.{seed}.{attempt}", expected))
        pairs = zip(real, model, strict=True)
        differing = [(number, one, other) for number, (one, other) in enumerate(pairs) if one != other]
        if not differing:
            return ""
        number, one, other = differing[0]
        found = f"seed {seed}, step {number} of {[step.what for step in steps]}:\n  real  {one}\n  model {other}"
    return found


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
