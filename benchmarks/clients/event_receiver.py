"""Celery's EventReceiver with a handler that counts: what monitors and exporters build on.

Its queue is the one that all contenders empty, in place of a transient one of its own, which could hold no backlog. The
rest is as Celery has it: it decodes every event, and acknowledges none, since RabbitMQ forgets on delivery (no_ack).
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.events.receiver import EventReceiver
from kombu import Connection, Exchange, Queue

from benchmarks.clients.asked import asked


class Receiver(EventReceiver):
    """Reads a queue that is there already."""

    def __init__(self, connection: Connection, queue: str, handler: Any, app: Celery) -> None:
        super().__init__(
            connection, handlers={"*": handler}, app=app, accept={"application/json", "application/x-msgpack"}
        )
        self.queue = Queue(queue, Exchange("celeryev", "topic"), routing_key="#", no_declare=True)


def main() -> None:
    """Receive until killed."""
    connection, queue, cell = asked()

    def handler(_: Any) -> None:
        cell[0] += 1

    Receiver(connection, queue, handler, Celery(set_as_current=False)).capture(wakeup=False)


if __name__ == "__main__":
    main()
