"""kombu's Consumer without decoding: the least that a careful receiver can do with Celery's own client library.

It acknowledges every 500 messages, all of them at once, and takes no list apart.
"""

from __future__ import annotations

from typing import Any

from kombu import Consumer, Queue

from benchmarks.clients.asked import asked

PREFETCH = 2000
"""As the bridge has it by default."""
ACKNOWLEDGE = 500


def main() -> None:
    """Receive until killed."""
    connection, name, cell = asked()

    def received(message: Any) -> None:
        cell[0] += 1
        if not cell[0] % ACKNOWLEDGE:
            message.ack(multiple=True)

    queue = Queue(name, no_declare=True)
    channel = connection.channel()
    with Consumer(channel, [queue], on_message=received, prefetch_count=PREFETCH, auto_declare=False):
        while True:
            connection.drain_events()


if __name__ == "__main__":
    main()
