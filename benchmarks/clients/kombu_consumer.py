"""kombu's Consumer without decoding: the least that a careful receiver can do with Celery's own client library.

It acknowledges every 500 messages, all of them at once, and takes no list apart.
"""

from __future__ import annotations

import argparse
from typing import Any

from kombu import Connection, Consumer, Queue

from benchmarks.clients.counter import Counter
from benchmarks.clients.tls import verified_by

PREFETCH = 2000
"""As the bridge has it by default."""
ACKNOWLEDGE = 500


def main() -> None:
    """Receive until killed."""
    parser = argparse.ArgumentParser()
    for name in ("url", "queue", "counter"):
        parser.add_argument(name)
    parser.add_argument("--ca")
    options = parser.parse_args()
    cell = Counter(options.counter).cell

    def received(message: Any) -> None:
        cell[0] += 1
        if not cell[0] % ACKNOWLEDGE:
            message.ack(multiple=True)

    connection = Connection(options.url, ssl=verified_by(options.ca))
    queue = Queue(options.queue, no_declare=True)
    channel = connection.channel()
    with Consumer(channel, [queue], on_message=received, prefetch_count=PREFETCH, auto_declare=False):
        while True:
            connection.drain_events()


if __name__ == "__main__":
    main()
