"""What the figures were taken on: without it they mean nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka

from benchmarks.environment import mq_bridge_version
from benchmarks.stage import Stage
from tests.support import oracle
from tests.support.servers import ServerMissing
from tests.support.servers.debian import ROOT
from tests.support.servers.kafka_files import VERSION as KAFKA


def machine() -> dict[str, Any]:
    """Its size, and how busy it is."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[1].strip() if model else platform.machine(),
        "memory_bytes": 1024 * int(memory),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "disk": _disk(),
        "load_before": os.getloadavg()[0],
    }


def versions(stage: Stage) -> dict[str, str]:
    """Of all that takes part, as far as it says."""
    connection = oracle.broker(stage.plain.url)
    rabbitmq = connection.server_properties["version"]
    connection.close()
    with stage.redis.client() as client:
        redis = client.info("server")["redis_version"]
    found = {
        "celery-event-bridge": _commit(),
        "Python": platform.python_version(),
        "RabbitMQ": rabbitmq.decode() if isinstance(rabbitmq, bytes) else str(rabbitmq),
        "Redis": redis,
        "Kafka": KAFKA,
        "librdkafka": confluent_kafka.libversion()[0],
        **{name: version(name.lower()) for name in ("celery", "kombu", "amqp", "confluent-kafka")},
    }
    try:
        found["mq-bridge"] = mq_bridge_version()
    except ServerMissing:
        pass
    return found


def _disk() -> str:
    """The kind of file system that the servers and SQLite write to: on some, syncing costs nothing."""
    command = ["stat", "--file-system", "--format=%T", tempfile.gettempdir()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _commit() -> str:
    """Its version, and where it stands between two."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return f"{version('celery-event-bridge')} ({done.stdout.strip() or 'no checkout'})"
