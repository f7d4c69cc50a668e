"""A steady load: so many single events a second, each with the time at which it was made, like a worker's."""

from __future__ import annotations

import sys
import time

from benchmarks.backlog import Publisher
from benchmarks.workloads import SINGLE, event, message

TICK = 0.001
"""Seconds: events leave in groups as large as what is due by then."""


def main() -> None:
    """Publish, and end when RabbitMQ has confirmed all."""
    url, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    publisher = Publisher(url)
    total, sent, start = round(rate * seconds), 0, time.monotonic()
    while sent < total:
        due = min(total, int((time.monotonic() - start) * rate) + 1)
        if due > sent:
            publisher.publish(
                [message(event(one, SINGLE, time.time()), one, "task.succeeded") for one in range(sent, due)]
            )
            sent = due
        publisher.look()
        time.sleep(TICK)
    publisher.close()


if __name__ == "__main__":
    main()
