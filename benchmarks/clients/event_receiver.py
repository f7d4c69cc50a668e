"""Celery's EventReceiver with a handler that counts: what monitors and exporters build on.

Its queue is the one that all contenders empty, in place of a transient one of its own, which could hold no backlog. The
rest is as Celery has it: it decodes every event, and acknowledges none, since RabbitMQ forgets on delivery (no_ack).
"""

from __future__ import annotations

import argparse
from typing import Any

from celery import Celery
from celery.events.receiver import EventReceiver
from kombu import Connection, Exchange, Queue

from benchmarks.clients.counter import Counter
from benchmarks.clients.tls import verified_by


class Receiver(EventReceiver):
    """Reads a queue that is there already."""

    def __init__(self, connection: Connection, queue: str, handler: Any, app: Celery) -> None:
        super().__init__(
            connection, handlers={"*": handler}, app=app, accept={"application/json", "application/x-msgpack"}
        )
        self.queue = Queue(queue, Exchange("celeryev", "topic"), routing_key="#", no_declare=True)


def main() -> None:
    """Receive until killed."""
    parser = argparse.ArgumentParser()
    for name in ("url", "queue", "counter"):
        parser.add_argument(name)
    parser.add_argument("--ca")
    options = parser.parse_args()
    cell = Counter(options.counter).cell

    def handler(_: Any) -> None:
        cell[0] += 1

    connection = Connection(options.url, ssl=verified_by(options.ca))
    Receiver(connection, options.queue, handler, Celery(set_as_current=False)).capture(wakeup=False)


if __name__ == "__main__":
    main()
