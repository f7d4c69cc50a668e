"""A sink under a steady load, driven as the relay does it, while something happens to its stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from celery_event_bridge.contract import JSON, Event, Outcome
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.outage import Outage
from tests.support.servers.debian import PATIENCE

WINDOW = 2000
"""Events in hand at most, as `BRIDGE_PREFETCH`."""
TURN = 0.01
LONG = 0.5


class Driven:
    """What was handed over, and what the sink has said to be stored."""

    def __init__(self, sink: Any, *, ordered: bool = False) -> None:
        self.outage = Outage("sink", 1.0)
        self.sink = sink
        self.handed: list[Event] = []
        self.stored: set[str] = set()
        self.longest = 0.0
        """Seconds for which nothing was stored at most, while something was to be."""
        self.blocked = 0.0
        """Seconds that calls of the sink took, of those that took longer than LONG."""
        self._driver: Driver[int] = Driver(sink, self.outage, lambda _: False, ordered=ordered)

    def run(self, during: Callable[[], Any], *, rate: int = 5000, seconds: float = 1.0) -> None:
        """Hand over so many a second until `during`, which runs beside, has ended, then until all are stored."""
        failures: list[BaseException] = []

        def beside() -> None:
            try:
                during()
            except BaseException as exc:  # noqa: BLE001 - it is raised where the test is
                failures.append(exc)

        thread = threading.Thread(target=beside, daemon=True)
        thread.start()
        begun = time.monotonic()
        while thread.is_alive() or time.monotonic() < begun + seconds:
            self._turn(new=round(rate * TURN))
        thread.join()
        if failures:
            raise failures[0]
        deadline = time.monotonic() + 30 * PATIENCE
        while self._driver.busy:
            assert time.monotonic() < deadline, f"{len(self.handed) - len(self.stored)} are not decided"
            self._turn(new=0)

    def _turn(self, new: int) -> None:
        now = time.monotonic()
        if len(self._driver.owners) < WINDOW:
            for event in numbered(len(self.handed), new):
                self._driver.owners[event] = 0
                self._driver.pending.append(event)
                self.handed.append(event)
        self._driver.look(now)
        _, decided = self._driver.collect()
        self._driver.hand_over(now)
        _, more = self._driver.collect(TURN / 2)
        for verdict in (*decided, *more):
            assert verdict.outcome is Outcome.STORED, verdict.reason
            for event in verdict.events:
                del self._driver.owners[event]
            self.stored.update(event.id for event in verdict.events)
        if (took := time.monotonic() - now) > LONG:
            self.blocked += took
        self.longest = max(self.longest, self._driver.stuck_for(time.monotonic()))
        time.sleep(max(0.0, now + TURN - time.monotonic()))


def numbered(first: int, count: int) -> list[Event]:
    """Make events of many tasks and a few workers, each with its number."""
    found: list[Event] = []
    for number in range(first, first + count):
        fields = {"type": "task-started", "hostname": f"w{number % 5}", "uuid": f"{number:032x}", "clock": number}
        found += decode(msgspec.json.encode(fields), JSON, {}).events
    return found
