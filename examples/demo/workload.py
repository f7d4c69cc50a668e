"""The Celery side: a prefork worker with events on, and tasks sent to it at a steady rate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from examples.demo import tasks
from tests.bridges import die_with_parent

RATE = 80
"""Tasks a second."""


class Worker:
    """`celery worker` with two prefork children."""

    def __init__(self, broker_url: str, log: Path) -> None:
        command = [sys.executable, "-m", "celery", "-A", "examples.demo.tasks", "worker", "-E", "-n", "demo@%h"]
        command += ["-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle"]
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("BRIDGE_", "CELERY_"))}
        environment["DEMO_BROKER_URL"] = broker_url
        if os.geteuid() == 0:
            environment["C_FORCE_ROOT"] = "1"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
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


class Sender(threading.Thread):
    """Sends tasks for some seconds, from a thread of its own."""

    def __init__(self, broker_url: str, seconds: float) -> None:
        super().__init__(daemon=True)
        self._seconds = seconds
        self.sent = 0
        self.error: Exception | None = None
        tasks.app.conf.broker_url = broker_url

    def run(self) -> None:
        try:
            start = time.monotonic()
            while (elapsed := time.monotonic() - start) < self._seconds:
                while self.sent < elapsed * RATE:
                    self._send(self.sent)
                    self.sent += 1
                time.sleep(0.02)
        except Exception as exc:  # noqa: BLE001 - the scenario reports it
            self.error = exc

    def _send(self, number: int) -> None:
        if number % 10 == 3:
            tasks.refuse.delay(f"card-{number}")
        elif number % 10 == 6:
            tasks.deliver.delay(f"street {number}")
        elif number % 20 == 9:
            tasks.app.control.revoke(tasks.remind.apply_async((number,), countdown=1).id)
        else:
            tasks.charge.delay(number)
