"""The Celery side: a worker with events on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.bridges import dying_with_us


class Worker:
    """`celery worker` with two children or threads."""

    def __init__(
        self,
        broker_url: str,
        log: Path,
        python: str = sys.executable,
        *,
        name: str = "demo",
        pool: str = "prefork",
        queue: str = "celery",
        options: Mapping[str, str] | None = None,
    ) -> None:
        """With the Celery of that Python; it takes the tasks of one queue. `options`: more of the transport's."""
        command = [python, "-m", "celery", "-A", "examples.demo.tasks", "worker", "-E", "-n", f"{name}@%h"]
        command += ["-P", pool, "-c", "2", "-Q", queue, "--without-gossip", "--without-mingle"]
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("BRIDGE_", "CELERY_"))}
        environment["DEMO_BROKER_URL"] = broker_url
        environment["DEMO_TRANSPORT_OPTIONS"] = json.dumps(options or {})
        if os.geteuid() == 0:
            environment["C_FORCE_ROOT"] = "1"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                dying_with_us(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._log = log

    def stop(self) -> None:
        """A warm stop: it finishes its tasks and publishes their last events. One that hangs is killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.end()

    def end(self) -> None:
        """End it at once, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def check(self) -> None:
        """Raises RuntimeError if it has ended by itself."""
        if self.ended:
            raise RuntimeError(f"the Celery worker has ended: {self._log.read_text()[-500:]}")
