"""The compose file and the image as they are, on a Docker engine: `make containers`, which `make test` does not call.

The images of the servers are pulled; where no registry can be reached, tests/standins/build.sh makes stand-ins.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from examples.demo.witness import Witness
from tests import oracle
from tests.servers import ServerMissing, containers
from tests.servers.debian import ROOT, free_port, until

IMAGE, BASE = "celery-event-bridge", "python:3.13-slim-trixie"
LARGEST = 150e6
"""Bytes of the image without its base."""

pytestmark = pytest.mark.timeout(500)


def docker(*arguments: str, environment: Mapping[str, str] = os.environ) -> str:
    done = subprocess.run(
        ["docker", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-1000:]}"
    return done.stdout


class Project:
    """The services of the compose file under a name and on ports of their own."""

    def __init__(self, sink: str) -> None:
        self._name = f"bridge-test-{uuid.uuid4().hex[:6]}"
        self.rabbitmq, self.kafka, self.redis = (free_port() for _ in range(3))
        self._environment = os.environ | {
            "BRIDGE_SINK": sink,
            "RABBITMQ_PORT": str(self.rabbitmq),
            "KAFKA_PORT": str(self.kafka),
            "REDIS_PORT": str(self.redis),
        }
        self._sink = sink

    def compose(self, *arguments: str) -> str:
        return docker("compose", "-p", self._name, "--profile", "demo", *arguments, environment=self._environment)

    def up(self, *services: str) -> None:
        self.compose("up", "-d", "--wait", "--scale", "bridge=3", *services)

    def bridges(self) -> list[dict[str, Any]]:
        """What the engine knows of each bridge's container."""
        names = self.compose("ps", "-a", "-q", "bridge").split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *names))
        return found

    def stored(self) -> Counter[bytes]:
        if self._sink == "redis":
            url = f"redis://127.0.0.1:{self.redis}/0"
            return Counter(entry[b"data"] for entry in oracle.in_redis(url))
        return Counter(record.value for record in oracle.in_kafka(f"localhost:{self.kafka}"))


@pytest.fixture(scope="session")
def image() -> None:
    """Built from the tree as it is."""
    if not containers.engine():
        raise ServerMissing("no Docker engine answers: install Docker and start it")
    docker("build", "--quiet", "--tag", IMAGE, ".")


@pytest.fixture(params=["kafka", "redis"])
def project(request: pytest.FixtureRequest, image: None) -> Iterator[Project]:
    made = Project(request.param)
    yield made
    print(made.compose("logs", "--no-color", "--tail", "40", "bridge"))
    made.compose("down", "--volumes", "--timeout", "1")


def test_three_replicas_of_which_one_is_killed(project: Project) -> None:
    """With a real worker, a container killed, and all stopped: each event that a witness saw is in the stream."""
    project.up("bridge")
    witness = Witness(f"amqp://guest:guest@127.0.0.1:{project.rabbitmq}//")
    project.up()
    until(lambda: witness.messages() > 1500, 60, "the worker publishes events")
    victim = project.bridges()[0]["Id"]
    docker("kill", victim)
    seen = witness.messages()
    until(lambda: witness.messages() > seen + 1500, 60, "the worker goes on")
    project.up()  # it is replaced
    seen = witness.messages()
    until(lambda: witness.messages() > seen + 500, 60, "the worker goes on")
    project.compose("stop", "producer")
    project.compose("stop", "worker")
    published = witness.events()
    until(lambda: not published - project.stored(), 60, "every event is in the stream")
    stored = project.stored()
    assert set(published) == set(stored)
    assert all(bridge["State"]["Running"] for bridge in project.bridges())
    begin = time.monotonic()
    project.compose("stop")
    took = time.monotonic() - begin
    assert [0, 0, 0] == [bridge["State"]["ExitCode"] for bridge in project.bridges()]
    assert 3 == project.compose("logs", "--no-log-prefix", "bridge").count("all that was in hand is confirmed")
    twice = stored.total() - len(stored)
    print(f"{published.total()} events, 0 missing, {twice} twice on the wire, all stopped in {took:.1f} s")


def test_the_container_may_do_little(project: Project) -> None:
    """It is nobody in particular, cannot write but to its volume, and has no capabilities."""
    project.up("bridge")
    for bridge in project.bridges():
        assert ("10001:10001", True) == (bridge["Config"]["User"], bridge["HostConfig"]["ReadonlyRootfs"])
        assert ["ALL"] == bridge["HostConfig"]["CapDrop"]
        assert "healthy" == bridge["State"]["Health"]["Status"]
        status = docker("exec", bridge["Id"], "cat", "/proc/1/status", "/proc/self/status")
        assert {"0000000000000000"} == {line.split()[1] for line in status.splitlines() if line.startswith("CapEff")}
        written = subprocess.run(["docker", "exec", bridge["Id"], "touch", "/opt/x", "/tmp/x"], capture_output=True)
        assert 2 == written.stderr.count(b"Read-only file system"), written.stderr
    project.compose("exec", "bridge", "touch", "/data/x")


def test_the_image_is_small(image: None) -> None:
    """What we add to Python's own image is less than 150 MB."""
    size, base = (int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in (IMAGE, BASE))
    print(f"{(size - base) / 1e6:.0f} MB over the base image")
    assert size - base < LARGEST


def test_wrong_settings_in_a_container(image: None) -> None:
    """One line and exit code 2."""
    done = subprocess.run(
        ["docker", "run", "--rm", "-e", "BRIDGE_SINK=kafka", "-e", "BRIDGE_KAFKA_ACKS=1", IMAGE],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert "BRIDGE_KAFKA_ACKS=1: would break the promise" in line
