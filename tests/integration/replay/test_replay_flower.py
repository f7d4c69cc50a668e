"""Flower, started on an empty broker and fed by `replay`, shows what one shows that has listened live."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.decode import decode
from tests.support import oracle
from tests.support.bridges import clean_environment, dying_with_us
from tests.support.oracle import JSON, PICKLE
from tests.support.replaying import replay
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import ROOT, free_port, until
from tests.support.streams import in_sqlite


class Flower:
    """A process of its own, with its HTTP API."""

    def __init__(self, url: str, log: Path) -> None:
        self.port = free_port()
        self.url = url
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                dying_with_us(
                    [
                        *(sys.executable, "-m", "celery", "-b", url, "--config", "tests.support.flower_config"),
                        *("flower", f"--port={self.port}", "--address=127.0.0.1"),
                    ]
                ),
                cwd=ROOT,
                env=clean_environment() | {"FLOWER_UNAUTHENTICATED_API": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """All that it knows of each task, by uuid."""
        return self.get("/api/tasks?limit=10000")

    def workers(self) -> dict[str, Any]:
        """Whether each is up, by name."""
        return self.get("/api/workers?status=1")


@contextmanager
def flower(server: RabbitMQ, url: str, log: Path) -> Iterator[Flower]:
    """One that listens."""
    running = Flower(url, log)
    try:
        until(lambda: listens(server, url) and running.get("/api/workers?status=1") is not None, 60, "Flower listens")
        yield running
    except BaseException:
        print(log.read_text()[-3000:])
        raise
    finally:
        running.process.kill()
        running.process.wait(60)


def listens(server: RabbitMQ, url: str) -> bool:
    """Whether a queue of Celery's receiver is bound to `celeryev`."""
    vhost = url.rpartition("/")[2]
    bindings = server.ctl("list_bindings", "-p", vhost, "source_name", "destination_name", "--silent")
    return any(line.split("\t")[0] == "celeryev" and "bridge" not in line for line in bindings.splitlines())


def of_another_worker(message: oracle.Published) -> oracle.Published:
    """The captured messages are one worker's."""
    headers = {"application_headers": {"hostname": "w2@vm"}}
    return message._replace(body=message.body.replace(b"w1@vm", b"w2@vm"), properties=message.properties | headers)


def test_flower_shows_the_same(rabbitmq_server: RabbitMQ, tmp_path: Path) -> None:
    """The same tasks, names, states, times and results, all that its API tells of them, and the same workers."""
    live_url, later_url = rabbitmq_server.new_vhost(), rabbitmq_server.new_vhost()
    messages = [message for message in oracle.captured() if message.properties["content_type"] != PICKLE]
    others = [of_another_worker(message) for message in messages if message.routing_key.startswith("worker.")]
    messages += [message for message in others if message.properties["content_type"] == JSON]
    stream = in_sqlite(tmp_path)
    stream.write([event for message in messages for event in events_of(message)])
    uuids = {row["subject"] for row in oracle.in_sqlite(tmp_path / "events.db") if row["type"].startswith("task-")}
    with (
        flower(rabbitmq_server, live_url, tmp_path / "live.log") as live,
        flower(rabbitmq_server, later_url, tmp_path / "later.log") as later,
    ):
        oracle.publish(live_url, messages)
        until(lambda: set(live.tasks()) == uuids, 30, "Flower has heard of all tasks")
        assert {} == later.tasks() == later.workers()
        done = replay("--from", stream.url, "--to", later_url)
        assert (0, "") == (done.returncode, done.stderr)
        # The last events may be on their way to either of them still.
        until(lambda: (later.tasks(), later.workers()) == (live.tasks(), live.workers()), 30, "both show the same")
        tasks, workers = later.tasks(), later.workers()
    assert uuids == set(tasks)
    assert {"w1@vm", "w2@vm"} == set(workers)
    assert {"SUCCESS", "FAILURE"} <= {task["state"] for task in tasks.values()}


def events_of(message: oracle.Published) -> list[Event]:
    """As a bridge stores them."""
    properties = message.properties
    return decode(message.body, properties["content_type"], properties["application_headers"]).events
