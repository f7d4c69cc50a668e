"""The world of the pages: servers, a Celery application with work for its worker, and what is called how here."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import amqp
from celery import Celery

from tests.support.bridges import clean_environment, dying_with_us
from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import ROOT, free_port, program
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.terminal.terminal import Terminal

APP = """
import os

from celery import Celery

app = Celery("proj", broker=os.environ["PROJ_BROKER_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
app.conf.broker_transport_options = {"confirm_publish": True}


@app.task(name="billing.charge")
def charge(amount):
    return 2 * amount


@app.task(name="billing.refuse")
def refuse(card):
    raise ValueError(f"card {card} refused")
"""
PROGRAMS = {"sqlite3": "sqlite3", "redis-cli": "redis-tools", "jq": "jq", "curl": "curl", "openssl": "openssl"}
QUEUES = ("celeryev.bridge", "celeryev.bridge2")


class World:
    """Servers, and the terminals in which pages are typed. RabbitMQ's default vhost is the pages'."""

    def __init__(self, rabbitmq: NativeRabbitMQ, redis: Redis, kafka: Kafka | None) -> None:
        self.rabbitmq, self.redis, self.kafka = rabbitmq, redis, kafka
        self.topic = f"pages-{uuid.uuid4().hex[:8]}"
        for name, package in PROGRAMS.items():
            program(name, package)

    @property
    def broker(self) -> str:
        return f"127.0.0.1:{self.rabbitmq.port}"

    @property
    def bootstrap(self) -> str:
        return self.kafka.bootstrap if self.kafka else "localhost:9092"

    @property
    def broker_url(self) -> str:
        return f"amqp://guest:guest@{self.broker}//"

    def replaced(self, folder: Path, ports: tuple[int, int]) -> list[tuple[str, str]]:
        """Texts of the pages by what they are here."""
        hour = timedelta(hours=1)
        before, after = (f"{datetime.now(UTC) + step:%Y-%m-%dT%H:%M:%SZ}" for step in (-hour, hour))
        redis = self.redis.url.removeprefix("redis://").removesuffix("/0")
        return [
            (r"(?<![\w/])venv/bin/(?=celery-event-bridge (?!--version))", ""),
            (r"amqp://user:password@", "amqp://guest:guest@"),
            (r"amqp://localhost\b", "amqp://guest:guest@localhost"),
            (r"@(?:(?:rabbitmq|localhost):5673|rabbitmq-us:5672)//", f"@{self.broker}/elsewhere"),
            (r"@(?:rabbitmq|rabbitmq-eu|localhost)(?::5672)?(?=/)", f"@{self.broker}"),
            (r"\b(?:redis|localhost|old):6379", redis),
            (r"(?<=:9092/)celery-events|(?<=--topic )celery-events", self.topic),
            (r"kafka-1:9092,kafka-2:9092|\b(?:kafka-1|kafka|localhost):9092", self.bootstrap),
            (r"\b(?:localhost|127\.0\.0\.1):9810", f"127.0.0.1:{ports[0]}"),
            (r"127\.0\.0\.1:9811", f"127.0.0.1:{ports[1]}"),
            (r"\b5556\b", str(free_port())),
            (r"2030-01-31T12:00:00Z|2030-01-30T22:00:00\+00:00", before),
            (r"2030-01-31T14:00:00Z|2030-01-31T06:00:00\+00:00", after),
            (r"/(?=run/secrets|opt/|var/lib)", f"{folder}/"),
        ]

    def terminal(self, folder: Path, **environment: str) -> Terminal:
        """Open one in an empty folder, with the programs that the pages name."""
        (folder / "proj.py").write_text(APP)
        for name in ("run/secrets", "opt/celery-event-bridge", "var/lib", "backup"):
            (folder / name).mkdir(parents=True)
        ports = free_port(), free_port()
        settings = {
            "BRIDGE_HTTP": f"127.0.0.1:{ports[0]}",
            "CELERY_BROKER_URL": self.broker_url,
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "BRIDGE_KAFKA_TOPIC": self.topic,
            "BRIDGE_REDIS_URL": self.redis.url,
            "PROJ_BROKER_URL": self.broker_url,
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "TYPED_TRAFFIC": "1",
        }
        terminal = Terminal(folder, self.replaced(folder, ports), **settings | environment)
        terminal.program("rabbitmqctl", f'exec {self.rabbitmq.control()} "$@"')
        # Never into the environment that the tests themselves run in.
        venv = folder / "venv"
        terminal.program("pip", f'[ -e {venv} ] || {sys.executable} -m venv {venv}; exec {venv}/bin/pip "$@"')
        tools = Path(__file__).with_name("kafka_tools.py")
        for name in ("kafka-topics.sh", "kafka-acls.sh"):
            terminal.program(name, f'exec {sys.executable} {tools} {name} "$@"')
        return terminal

    def listen(self, vhost: str) -> None:
        """Have a queue there that gets what is published, as a monitor's."""
        with amqp.Connection(self.broker, userid="guest", password="guest", virtual_host=vhost) as connection:
            channel = connection.channel()
            channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
            channel.queue_declare("monitor", auto_delete=False, arguments={"x-max-length": 10})
            channel.queue_bind("monitor", "celeryev", "#")

    def publish(self, body: bytes, content_type: str) -> None:
        """Publish a message as a worker does."""
        with amqp.Connection(self.broker, userid="guest", password="guest", confirm_publish=True) as connection:
            message = amqp.Message(body, content_type=content_type)
            connection.channel().basic_publish(message, "celeryev", "worker.x", timeout=60)

    def tidy(self) -> None:
        """Leave nothing of a page to the next one."""
        with amqp.Connection(self.broker, userid="guest", password="guest") as connection:
            for queue in QUEUES:
                for name in (queue, f"{queue}.overflow", f"{queue}.rejected"):
                    connection.channel().queue_delete(name)
        with self.redis.client() as client:
            client.flushdb()
        self.topic = f"pages-{uuid.uuid4().hex[:8]}"


class Work(threading.Thread):
    """Tasks for the worker, five a second, of which one fails."""

    def __init__(self, broker_url: str) -> None:
        super().__init__(daemon=True)
        self._app = Celery(broker=broker_url)
        self._app.conf.update(task_send_sent_event=True, broker_transport_options={"confirm_publish": True})
        self.stopped = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopped.wait(0.2):
            number += 1
            self._app.send_task("billing.refuse" if number % 5 == 0 else "billing.charge", (number,))
        self._app.close()


@contextmanager
def at_work(world: World, folder: Path) -> Iterator[None]:
    """A worker of the application, and tasks for it."""
    (folder / "proj.py").write_text(APP)
    command = [sys.executable, "-m", "celery", "-A", "proj", "worker", "-E", "-n", "billing@%h", "-c", "1"]
    environment = clean_environment() | {"PROJ_BROKER_URL": world.broker_url, "C_FORCE_ROOT": "1"}
    environment["PYTHONPATH"] = str(ROOT)
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            dying_with_us(command), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    work = Work(world.broker_url)
    work.start()
    try:
        yield
    finally:
        work.stopped.set()
        work.join(60)
        worker.kill()
        worker.wait(60)
