"""One run of real workers, through a real bridge into every stream at once, with Celery's own receiver beside it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from celery.events.receiver import EventReceiver
from celery.events.state import State
from kombu import Connection

from examples.demo.workload import Worker
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import Kafka, RabbitMQ, Redis
from tests.support.servers.debian import until

ENDS = {"task-succeeded", "task-failed", "task-revoked"}
POOLS = ("prefork", "threads")
"""One worker each, and a queue of that name.

A task that is tried again stays with its worker, so that its events come over one connection: between two, RabbitMQ
gives no order, and the listener's queue and the bridge's may see their events in different ones.
"""


class Listener(threading.Thread):
    """Celery's receiver and its `State`, as every monitor has them."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(daemon=True)
        self.state = State()
        self.ended: dict[str, str] = {}
        """The last event of each task that has ended, by its uuid."""
        self.workers: set[str] = set()
        self.ready = threading.Event()
        self._connection = Connection(broker_url)
        self._receiver = EventReceiver(self._connection, {"*": self._hear}, app=Celery(broker=broker_url))

    def run(self) -> None:
        with self._connection:
            for _ in self._receiver.itercapture(wakeup=False):
                pass

    def start(self) -> None:
        """Return when its queue is there."""
        on_ready = self._receiver.on_consume_ready
        self._receiver.on_consume_ready = lambda *args, **kwargs: (on_ready(*args, **kwargs), self.ready.set())
        super().start()
        assert self.ready.wait(60)

    def stop(self) -> None:
        """It hears nothing more."""
        self._receiver.should_stop = True
        self.join(60)

    def _hear(self, fields: dict[str, Any]) -> None:
        self.state.event(fields)
        if fields["type"] in ENDS:
            self.ended[fields["uuid"]] = fields["type"]
        elif fields["type"].startswith("worker-"):
            self.workers.add(fields["hostname"])


class Run:
    """What it has left behind."""

    def __init__(self, urls: Mapping[str, str], listener: Listener) -> None:
        self.urls = urls
        """The streams, by kind."""
        self.live = listener.state
        self.ended = listener.ended

    def of(self, end: str) -> set[str]:
        """The tasks that ended so."""
        return {task for task, event in self.ended.items() if event == end}


def send(broker_url: str, count: int) -> int:
    """Tasks of all kinds, of which a part fails, is tried again, or is called off; returns their number.

    With confirms: RabbitMQ 3.10 may lose what is published without, just before the connection is closed.
    """
    app = Celery(broker=broker_url)
    app.conf.update(task_send_sent_event=True, broker_transport_options={"confirm_publish": True})
    # They are heard of before they hear: what is called off until then is done all the same.
    until(lambda: len(app.control.ping(timeout=1.0)) == len(POOLS), 40, "the workers take orders")
    for number in range(count):
        name, argument = {3: ("refuse", "card"), 6: ("deliver", "street"), 9: ("remind", 0)}.get(
            number % 20, ("charge", number)
        )
        # Long enough for a busy machine to hear that it is called off before it is its turn.
        later = 5 if name == "remind" else None
        queue = POOLS[number // 20 % len(POOLS)]
        sent = app.send_task(f"examples.demo.tasks.{name}", (argument,), countdown=later, queue=queue)
        if later:
            app.control.revoke(sent.id)
    app.close()
    return count


@contextmanager
def run(rabbitmq: RabbitMQ, redis: Redis, kafka: Kafka, folder: Path, count: int) -> Iterator[Run]:
    """Two workers and so many tasks; when it begins, all have ended and are stored. The workers are still there."""
    broker_url, name = rabbitmq.new_vhost(), f"run-{uuid.uuid4().hex[:8]}"
    settings = {
        "BRIDGE_BROKER_URL": broker_url,
        # What comes by way of overflow comes later, and a `State` depends on the order.
        "BRIDGE_QUEUE_TTL": "600",
        "BRIDGE_SINK": "sqlite,redis,kafka",
        "BRIDGE_SQLITE_PATH": str(folder / "events.db"),
        "BRIDGE_REDIS_URL": redis.url,
        "BRIDGE_REDIS_STREAM": name,
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "BRIDGE_KAFKA_TOPIC": name,
        "BRIDGE_KAFKA_PARTITIONS": "3",
    }
    urls = {
        "sqlite": f"sqlite:///{folder / 'events.db'}",
        "redis": f"{redis.url}?stream={name}",
        "kafka": f"kafka://{kafka.bootstrap}/{name}",
    }
    with ExitStack() as stack:
        bridge = Bridge(folder / "bridge.log", settings)
        stack.callback(bridge.end)
        bridge.await_ready()
        listener = Listener(broker_url)
        listener.start()
        stack.callback(listener.stop)
        for pool in POOLS:
            worker = Worker(broker_url, folder / f"{pool}.log", name=pool, pool=pool, queue=pool)
            stack.callback(worker.end)
        until(lambda: len(listener.workers) == 2, 40, "both workers are heard of")
        total = send(broker_url, count)
        until(lambda: len(listener.ended) >= total, 60, "every task has ended")

        def stored() -> bool:
            rows = oracle.in_sqlite(folder / "events.db")
            return set(listener.ended.items()) <= {(row["subject"], row["type"]) for row in rows}

        until(stored, 20, "their ends are stored")  # in all of them: it is confirmed, and so acknowledged, as a whole
        until(lambda: bridge.metric("inflight_messages") == 0, 20, "the other streams have them, too")
        listener.stop()
        yield Run(urls, listener)
        with redis.client() as client:
            client.delete(name)


def kinds(state: State) -> Counter[str]:
    """How many tasks are in each state."""
    return Counter(task.state for task in state.tasks.values())
