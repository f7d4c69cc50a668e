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
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from examples.demo.witness import Subscriber, Witness
from tests.support import oracle
from tests.support.servers import ServerMissing, containers
from tests.support.servers.debian import ROOT, free_port, until

IMAGE, BASE = "celery-event-bridge", "python:3.13-slim-trixie"
BASED = ["--build-arg", f"PYTHON_IMAGE={BASE}"]
"""The base by its name: a stand-in has no digest."""
LARGEST = 150e6
"""Bytes of the image without its base."""

pytestmark = pytest.mark.timeout(500)


def docker(*arguments: str, environment: Mapping[str, str] = os.environ, both: bool = False) -> str:
    done = subprocess.run(
        ["docker", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr[-1000:]}"
    return done.stdout + (done.stderr if both else "")


class Project:
    """The services of the compose file under a name and on ports of their own."""

    def __init__(self, sink: str, *profiles: str, bridge: str = "bridge", **variables: str) -> None:
        self._name = f"bridge-test-{uuid.uuid4().hex[:6]}"
        self.rabbitmq, self.kafka, self.redis, self.redis_broker = (free_port() for _ in range(4))
        self._profiles = [part for name in profiles or ("demo",) for part in ("--profile", name)]
        self.bridge = bridge
        self._environment = os.environ | {
            "BRIDGE_SINK": sink,
            "BRIDGE_REPLICAS": "3",
            "PYTHON_IMAGE": BASE,
            "RABBITMQ_PORT": str(self.rabbitmq),
            "KAFKA_PORT": str(self.kafka),
            "REDIS_PORT": str(self.redis),
            "REDIS_BROKER_PORT": str(self.redis_broker),
            **variables,
        }
        self._sink = sink

    def compose(self, *arguments: str, **variables: str) -> str:
        command = ["compose", "-p", self._name, *self._profiles, *arguments]
        return docker(*command, environment={**self._environment, **variables})

    def up(self, *services: str) -> None:
        self.compose("up", "-d", "--wait", *services)

    def bridges(self) -> list[dict[str, Any]]:
        """What the engine knows of each bridge's container."""
        names = self.compose("ps", "-a", "-q", self.bridge).split()
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
    docker("build", "--quiet", "--tag", IMAGE, *BASED, ".")


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


@pytest.fixture
def on_redis(image: None) -> Iterator[Project]:
    """Redis as the broker, three bridges of it, and no RabbitMQ."""
    made = Project("redis", "redis-broker", "redis-demo", bridge="redis-bridge", RABBITMQ_REPLICAS="0")
    yield made
    print(made.compose("logs", "--no-color", "--tail", "40", "redis-bridge"))
    made.compose("down", "--volumes", "--timeout", "1")


def test_three_replicas_on_redis_of_which_the_one_that_forwards_is_killed(on_redis: Project) -> None:
    """Another one takes over: each event that a subscriber beside them hears is in the stream; a spool could be."""
    project = on_redis
    project.up("redis-bridge", "redis")
    assert 3 == len(project.bridges())
    witness = Subscriber(f"redis://127.0.0.1:{project.redis_broker}/0")
    project.up()
    until(lambda: witness.messages() > 1500, 60, "the worker publishes events")
    forwards = [
        each["Id"] for each in project.bridges() if "this bridge forwards" in docker("logs", each["Id"], both=True)
    ]
    docker("kill", forwards[0])
    seen = witness.messages()
    until(lambda: witness.messages() > seen + 1500, 60, "the worker goes on")
    project.compose("stop", "redis-producer")
    project.compose("stop", "redis-worker")
    published = witness.events()
    until(lambda: not published - project.stored(), 60, "every event is in the stream")
    assert set(published) == set(project.stored())
    project.compose("exec", "redis-bridge", "touch", "/data/x")
    assert "" == project.compose("ps", "-a", "-q", "rabbitmq", "bridge")


def test_the_container_may_do_little(project: Project) -> None:
    """It is nobody in particular, cannot write but to its volume, and has no capabilities."""
    project.up("bridge")
    for bridge in project.bridges():
        assert ("10001:0", True) == (bridge["Config"]["User"], bridge["HostConfig"]["ReadonlyRootfs"])
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


@pytest.fixture
def run_container(image: None) -> Iterator[Callable[..., str]]:
    """Starts containers of the image, and returns their names. They are removed with the test."""
    names: list[str] = []

    def start(*arguments: str) -> str:
        names.append(f"bridge-test-{uuid.uuid4().hex[:6]}")
        docker("run", "--detach", "--name", names[-1], *arguments)
        return names[-1]

    yield start
    if names:
        docker("rm", "--force", "--volumes", *names)


def state(name: str) -> Any:
    return json.loads(docker("inspect", name))[0]["State"]


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0, 3.0])
def test_a_stop_in_the_first_moments(run_container: Callable[..., str], delay: float) -> None:
    """Without an init of the engine's, a container that is stopped at once ends by itself, and is not killed."""
    name = run_container("-e", "BRIDGE_SINK=redis", IMAGE)
    time.sleep(delay)  # what is tested is the moment
    docker("stop", "--time", "40", name)
    assert state(name)["ExitCode"] in (0, 143)


def test_the_image_without_a_volume_is_refused(image: None) -> None:
    """By its defaults: exit code 2, and a line that says what to mount; with a volume it starts."""
    done = subprocess.run(["docker", "run", "--rm", IMAGE], capture_output=True, text=True, timeout=60)
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert "this is no volume" in line
    checked = subprocess.run(
        ["docker", "run", "--rm", "--volume", "/data", IMAGE, "check"], capture_output=True, text=True, timeout=60
    )
    assert "this is no volume" not in checked.stdout


def test_a_bridge_that_stores_nothing_is_unhealthy(project: Project) -> None:
    """With a wrong password `up --wait` fails, and `bridge-health ready` says why; the servers are well."""
    with pytest.raises(AssertionError, match="unhealthy"):
        project.compose("up", "-d", "--wait", "bridge", BRIDGE_BROKER_URL="amqp://guest:wrong@rabbitmq:5672//")
    assert ["unhealthy"] * 3 == [bridge["State"]["Health"]["Status"] for bridge in project.bridges()]
    asked = subprocess.run(
        ["docker", "exec", project.bridges()[0]["Id"], "bridge-health", "ready"], capture_output=True, text=True
    )
    assert (1, True) == (asked.returncode, "login refused" in asked.stdout.lower())
    assert "wrong" not in asked.stdout


def test_a_second_call_changes_nothing(project: Project) -> None:
    """The settings that stand in the environment, or in `.env`, are there for the next call as well."""
    project.up("bridge")
    before = {bridge["Id"] for bridge in project.bridges()}
    project.up("bridge")
    assert before == {bridge["Id"] for bridge in project.bridges()}
    assert 3 == len(before)


def test_other_commands_are_healthy(project: Project) -> None:
    """A container that prints events has nothing that could be asked."""
    project.up()
    until(project.stored, 60, "events are stored")
    name = project.compose("run", "--detach", "bridge", "tail", "--follow").split()[-1]
    try:
        until(lambda: state(name)["Health"]["Status"] == "healthy", 60, "it is healthy")
    finally:
        docker("rm", "--force", name)


def test_health_asks_where_the_bridge_listens(run_container: Callable[..., str]) -> None:
    """At a port that an option names; where it is switched off it is healthy once it runs."""
    off = run_container("-e", "BRIDGE_SINK=redis", "-e", "BRIDGE_HTTP=off", IMAGE)
    until(lambda: state(off)["Health"]["Status"] == "healthy", 60, "it is healthy")
    other = run_container("-e", "BRIDGE_SINK=redis", IMAGE, "run", "--http", "0.0.0.0:9000")
    until(lambda: "broker: " in state(other)["Health"]["Log"][-1]["Output"], 60, "it was asked")


def test_two_builds_make_the_same_layers(image: None) -> None:
    """Built anew without a cache, from the same sources."""
    layers = []
    for _ in range(2):
        docker("build", "--quiet", "--no-cache", "--tag", f"{IMAGE}:again", *BASED, ".")
        layers.append(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{IMAGE}:again"))
    assert layers[0] == layers[1]
