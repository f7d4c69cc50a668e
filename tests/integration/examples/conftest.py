"""Fixtures of the tests of the examples: one run of real workers, and examples as processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import workers
from tests.support.bridges import clean_environment, dying_with_us
from tests.support.example_runs import TASKS
from tests.support.servers import Kafka, RabbitMQ, Redis
from tests.support.servers.debian import ROOT

WITHOUT_OURS = "import runpy, sys; sys.modules['celery_event_bridge'] = sys.modules['celery_event_sinks'] = None; "
"""Whoever imports one of them gets an ImportError."""


@pytest.fixture(scope="package")
def run(
    rabbitmq_server: RabbitMQ, redis_server: Redis, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[workers.Run]:
    with workers.run(rabbitmq_server, redis_server, kafka_server, tmp_path_factory.mktemp("run"), TASKS) as done:
        yield done


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts examples as a user does; what they print goes to a file beside their number."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        command = ["-m", f"examples.{name}"]
        if name.startswith("plain"):
            command = ["-c", WITHOUT_OURS + f"runpy.run_module('examples.{name}', run_name='__main__')"]
        with (tmp_path / f"output-{len(started)}").open("w") as output:
            process = subprocess.Popen(
                dying_with_us([sys.executable, *command, *arguments]),
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for number, process in enumerate(started):
        process.kill()
        process.wait(60)
        print(f"{process.args[2]}:\n{(tmp_path / f'output-{number}').read_text()[-2000:]}")
