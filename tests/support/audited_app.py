"""A Celery app whose workers are audited: tasks that end in every way, and one that runs for as long as it is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from kombu import Connection, Exchange, Queue

from tests.support.bridges import clean_environment, dying_with_us

app = Celery("audited", broker=os.environ.get("AUDITED_BROKER", "amqp://"), backend=os.environ.get("AUDITED_BACKEND"))
app.conf.update(
    task_send_sent_event=True,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=4,
    # Else RabbitMQ 3.10 can lose what a worker publishes just before it closes its connection: docs/guarantees.md.
    broker_transport_options={"confirm_publish": True},
)


@app.task
def add(one: int, other: int) -> int:
    """Succeed."""
    return one + other


@app.task
def fail() -> None:
    """Fail."""
    raise ValueError("on purpose")


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def again(self: Task) -> None:
    """Be retried once, and fail."""
    raise self.retry(exc=KeyError("again"))


@app.task(acks_late=True)
def reject() -> None:
    """Be rejected."""
    raise Reject("on purpose", requeue=False)


@app.task
def nap(seconds: float) -> float:
    """Take some time."""
    time.sleep(seconds)
    return seconds


@app.task(acks_late=True)
def late_nap(seconds: float) -> float:
    """Take some time, and be run again where the worker is killed."""
    time.sleep(seconds)
    return seconds


class Worker:
    """`celery worker -E` of this app."""

    def __init__(
        self,
        broker: str,
        log: Path,
        pool: str = "prefork",
        name: str = "w1@audited",
        backend: str = "",
        concurrency: int = 2,
        queue: str = "celery",
    ) -> None:
        self.name = name
        command = [sys.executable, "-m", "celery", "-A", "tests.support.audited_app", "worker", "-E", "-n", name]
        command += ["-P", pool, "-c", str(concurrency), "-Q", queue, "--without-gossip", "--without-mingle"]
        environment = clean_environment() | {"AUDITED_BROKER": broker, "C_FORCE_ROOT": "1"}
        if backend:
            environment["AUDITED_BACKEND"] = backend
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                dying_with_us(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_end(self) -> None:
        """After SIGTERM, a warm shutdown: it finishes its tasks and says good-bye. One that hangs is killed."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, its pool's processes too."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)


class Tap:
    """A queue beside the bridge's on the same exchange: what workers have published, whatever a bridge does."""

    def __init__(self, broker: str) -> None:
        self._connection = Connection(broker)
        exchange = Exchange("celeryev", type="topic", durable=True)
        self._queue = Queue("tap", exchange, routing_key="#", exclusive=True)(self._connection.default_channel)
        self._queue.declare()

    def read(self) -> list[dict[str, Any]]:
        """The events that are in it, and it is empty."""
        events: list[dict[str, Any]] = []
        while (message := self._queue.get(no_ack=True)) is not None:
            body = json.loads(message.body)
            events += body if isinstance(body, list) else [body]
        return events

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class Client:
    """Sends tasks from this process."""

    def __init__(self, broker: str, backend: str | None = None) -> None:
        self.app = Celery("client", broker=broker, backend=backend)
        self.app.conf.task_send_sent_event = True

    def send(self, name: str, *arguments: object) -> str:
        """One task; returns its uuid."""
        return str(self.app.send_task(f"tests.support.audited_app.{name}", arguments).id)

    def waiting(self, queues: Iterable[str]) -> int:
        """Tasks in these queues."""
        with self.app.connection_for_read() as connection:
            channel = connection.default_channel
            return sum(channel.queue_declare(queue, passive=True).message_count for queue in queues)

    def mixed(self, count: int, queue: str = "celery") -> None:
        """Tasks that end in every way, most of them well."""
        with self.app.producer_or_acquire() as producer:
            for number in range(count):
                name = {7: "fail", 11: "again", 13: "reject"}.get(number % 20, "add")
                arguments = (number, 1) if name == "add" else ()
                self.app.send_task(f"tests.support.audited_app.{name}", arguments, producer=producer, queue=queue)

    def close(self) -> None:
        """Let go of the connections: the app itself keeps them in pools, which are one for the process."""
        self.app.amqp.producer_pool.force_close_all()
        self.app.pool.force_close_all()
        if self.app.conf.result_backend:
            self.app.backend.result_consumer.stop()
            self.app.backend.client.close()
        self.app.close()
