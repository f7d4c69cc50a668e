"""Who empties the queue: the bridge, and what one would use in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.backlog import QUEUE, SETTINGS
from benchmarks.clients.counter import Counter
from benchmarks.environment import mq_bridge_python
from benchmarks.measure import Process
from benchmarks.sinks import Sink
from benchmarks.stage import Broker
from tests.support.bridges import Bridge, clean_environment, dying_with_us
from tests.support.servers import ServerMissing
from tests.support.servers.debian import ROOT

NAMES = {"sqlite": "SQLite", "redis": "Redis", "kafka": "Kafka"}
OURS = "celery-event-bridge"
TUNED_INPUT, TUNED_ROUTE = {"prefetch_count": 16384}, {"batch_size": 1024, "concurrency": 1}
"""mq-bridge's best of those that were tried: a prefetch of 100 (its default), 2,000, 4,096, 8,192, 16,384 and 65,535;
batches of 512 (its default), 1,024 (what its guide has for bulk) and 4,096; 1 (its default), 2 and 4 tasks at once. It
acknowledges after the sink has confirmed, whatever these are."""
TUNED_KAFKA = {"producer_options": [["linger.ms", "0"]]}
"""Its default lingers, in which a route of one task does nothing else."""


class Running(NamedTuple):
    """A contender at work."""

    processes: Sequence[Process]
    so_far: Callable[[], int]
    """How many events or messages it has stored, or received if it stores nothing."""
    pause: float
    """Seconds between two questions for it."""


class Contender(NamedTuple):
    """One of them."""

    name: str
    sink: str
    """sqlite, redis or kafka; nothing if it stores nothing."""
    takes_apart: bool
    """Whether a list of events becomes events; else a message is what is counted."""
    start: Callable[[Broker, Sink | None, Path], Running]
    """Into that sink, with its log in that folder."""
    prepare: Callable[[], object] = lambda: None
    """Whatever takes long once, before the first time. Raises ServerMissing where it is not to be had."""


def ours(sink: str, replicas: int = 1) -> Contender:
    """The bridge with its defaults."""

    def start(broker: Broker, into: Sink | None, folder: Path) -> Running:
        assert into is not None
        tls = {"BRIDGE_BROKER_TLS_CA": str(broker.ca)} if broker.ca else {}
        settings = {"BRIDGE_BROKER_URL": broker.contenders_url} | SETTINGS | into.settings | tls
        bridges = [Bridge(folder / f"bridge-{number}.log", settings) for number in range(replicas)]
        return Running([bridge.process for bridge in bridges], into.count, into.pause)

    several = f", {replicas} replicas" if replicas > 1 else ""
    return Contender(f"{OURS} into {NAMES[sink]}{several}", sink, True, start)


def mq_bridge(sink: str, *, tuned: bool = False) -> Contender:
    """The general bridge, with its defaults or tuned. It knows nothing of Celery: a list of events is one record."""

    def start(broker: Broker, into: Sink | None, folder: Path) -> Running:
        assert into is not None
        if not broker.quorum_by_default:
            raise ServerMissing("it declares its queue without arguments, which has to be a quorum queue")
        tls = {"tls": {"required": True, "ca_file": str(broker.ca)}} if broker.ca else {}
        read = {"url": broker.contenders_url, "queue": QUEUE} | tls
        route: dict[str, Any] = {"input": {"amqp": read}, "output": into.endpoint}
        if tuned:
            read |= TUNED_INPUT
            route |= TUNED_ROUTE
            if "kafka" in into.endpoint:
                route["output"] = {"kafka": into.endpoint["kafka"] | TUNED_KAFKA}
        process = _start([mq_bridge_python(), "-m", "benchmarks.clients.mq_bridge", json.dumps(route)], folder)
        return Running([process], into.count, into.pause)

    name = f"mq-bridge into {NAMES[sink]}{', tuned' if tuned else ''}"
    return Contender(name, sink, False, start, mq_bridge_python)


def _receiver(name: str, program: str, *, takes_apart: bool) -> Contender:
    """A program of ours that uses some client library, and counts."""

    def start(broker: Broker, _: Sink | None, folder: Path) -> Running:
        file = folder / "count"
        file.unlink(missing_ok=True)
        counter = Counter(file)
        arguments = [sys.executable, "-m", f"benchmarks.clients.{program}", broker.contenders_url, QUEUE, str(file)]
        process = _start([*arguments, *(["--ca", str(broker.ca)] if broker.ca else [])], folder)
        return Running([process], lambda: int(counter.cell[0]), 0.002)

    return Contender(name, "", takes_apart, start)


def _start(command: Sequence[str], folder: Path) -> Process:
    with (folder / "other.log").open("wb") as output:
        return subprocess.Popen(
            dying_with_us(command),
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


event_receiver = _receiver("EventReceiver", "event_receiver", takes_apart=True)
kombu_consumer = _receiver("kombu Consumer", "kombu_consumer", takes_apart=False)
bare = _receiver("bare socket", "bare", takes_apart=False)
