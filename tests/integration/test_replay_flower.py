"""Flower, started on an empty broker and fed by `replay`, shows what one shows that has listened live."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import oracle
from tests.bridges import Bridge, clean_environment, die_with_parent
from tests.integration.test_captured_messages import JSON, PICKLE, expected_records
from tests.replaying import replay
from tests.servers import RabbitMQ
from tests.servers.debian import ROOT, free_port, until

OF_RECEIVING = {"local_received", "clock", "heartbeats", "active", "processed", "loadavg"}
"""Not compared: when Flower itself got it."""


class Flower:
    """A process of its own, with its HTTP API."""

    def __init__(self, url: str, log: Path) -> None:
        self.port = free_port()
        self.url = url
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-b", url, "--config", "tests.flower_config"),
                    *("flower", f"--port={self.port}", "--address=127.0.0.1"),
                ],
                cwd=ROOT,
                env=clean_environment() | {"FLOWER_UNAUTHENTICATED_API": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """All that it knows of each task, by uuid, but when it got to know it."""
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
        running.process.wait(10)


def listens(server: RabbitMQ, url: str) -> bool:
    """Whether a queue of Celery's receiver is bound to `celeryev`."""
    vhost = url.rpartition("/")[2]
    bindings = server.ctl("list_bindings", "-p", vhost, "source_name", "destination_name", "--silent")
    return any(line.split("\t")[0] == "celeryev" and "bridge" not in line for line in bindings.splitlines())


def of_another_worker(message: oracle.Published) -> oracle.Published:
    """The captured messages are one worker's."""
    headers = {"application_headers": {"hostname": "w2@vm"}}
    return message._replace(body=message.body.replace(b"w1@vm", b"w2@vm"), properties=message.properties | headers)


def test_flower_shows_the_same(rabbitmq_server: RabbitMQ, start_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    """The same tasks, names, states, times and results, and the same workers."""
    live_url, later_url = rabbitmq_server.new_vhost(), rabbitmq_server.new_vhost()
    path = tmp_path / "events.db"
    bridge = start_bridge(BRIDGE_BROKER_URL=live_url, BRIDGE_SINK="sqlite", BRIDGE_SQLITE_PATH=str(path))
    messages = [message for message in oracle.captured() if message.properties["content_type"] != PICKLE]
    others = [of_another_worker(message) for message in messages if message.routing_key.startswith("worker.")]
    messages += (others := [message for message in others if message.properties["content_type"] == JSON])
    with flower(rabbitmq_server, live_url, tmp_path / "live.log") as live:
        bridge.await_ready()
        oracle.publish(live_url, messages)
        until(
            lambda: bridge.metric("events_forwarded_total") == len(expected_records()) + len(others),
            30,
            "all is stored",
        )
        uuids = {row["subject"] for row in oracle.in_sqlite(path) if row["type"].startswith("task-")}
        until(lambda: set(live.tasks()) == uuids, 30, "Flower has heard of all tasks")
        with flower(rabbitmq_server, later_url, tmp_path / "later.log") as later:
            assert {} == later.tasks() == later.workers()
            done = replay("--from", f"sqlite:///{path}", "--to", later_url)
            assert (0, "") == (done.returncode, done.stderr)
            until(lambda: set(later.tasks()) == uuids, 30, "the other one too")
            until(lambda: later.workers() == live.workers(), 10, "with the same workers")
            shown, expected = later.tasks(), live.tasks()
            assert {"w1@vm", "w2@vm"} == set(live.workers())
    assert {"SUCCESS", "FAILURE"} <= {task["state"] for task in expected.values()}
    different = {
        (uuid, name): (value, shown[uuid].get(name))
        for uuid, task in expected.items()
        for name, value in task.items()
        if shown[uuid].get(name) != value
    }
    assert set() == {name for _, name in different} - OF_RECEIVING, different
