"""Tasks sent at a steady rate. `python -m examples.demo.sender` sends to DEMO_BROKER_URL until it is stopped."""

from __future__ import annotations

import math
import signal
import threading
import time

from examples.demo import tasks

RATE = 80
"""Tasks a second."""


class Sender(threading.Thread):
    """Sends tasks for some seconds, from a thread of its own."""

    def __init__(self, broker_url: str | None = None, seconds: float = math.inf) -> None:
        super().__init__(daemon=True)
        self._seconds = seconds
        self.sent = 0
        self.error: Exception | None = None
        if broker_url is not None:
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


if __name__ == "__main__":
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    sender = Sender()
    sender.start()
    while sender.is_alive() and not stopped.wait(10):
        print(f"{sender.sent} tasks sent", flush=True)
    if sender.error is not None:
        raise SystemExit(f"sending tasks failed: {sender.error}")
