"""Replica of the bridge: the real relay between models of its three ends, as a process that comes back when it ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from celery_event_bridge.contract.broker import RefusedForGood
from celery_event_bridge.forward.relay import Relay
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from tests.simulation.kinds import MAX_INFLIGHT_BYTES
from tests.simulation.messages import TOO_LARGE
from tests.simulation.process import Process
from tests.simulation.promises import Broken

if TYPE_CHECKING:
    from tests.simulation.kinds import Kind

SETTINGS = {
    "event_types": ("*",),
    "max_message_bytes": TOO_LARGE,
    "max_inflight_bytes": MAX_INFLIGHT_BYTES,
    "retry_max_interval": 5.0,
    "let_go_after": 6.0,
    "shutdown_timeout": 5.0,
}
MEMORY = 2 * MAX_INFLIGHT_BYTES + 100 * TOO_LARGE
"""Bytes in hand past which the bound is broken: where twice the budget is held all goes back, and what one poll brings
comes on top."""
RESTARTS_AFTER = 1.0
"""Seconds after which a process that has ended is there again."""


class Replica:
    """One of several. `process` is the present one."""

    def __init__(self, kind: Kind, name: str) -> None:
        self.name = name
        self._kind = kind
        self._world = kind.play.world
        self._ahead = 0.0
        self.begin()

    def begin(self) -> None:
        """Start a process."""
        self._world.say(self.name, "starts")
        self.process = process = Process(self._world, self.name, self._main)
        process.ahead = self._ahead
        process.ended = self._ended
        self.source = self._kind.source(process)
        self.sink = self._kind.sink(process)
        self.parking = self._kind.parking(process)
        self.status = status = Status()
        settings = SimpleNamespace(**SETTINGS)
        self.relay = Relay(self.source, self.sink, self.parking, settings, Metrics(status), status, process)
        process.start()

    def _main(self) -> None:
        try:
            self.relay.run()
        except RefusedForGood as exc:
            if getattr(self.source, "has_consumed", False):
                raise Broken(f"ended: {self.name} has consumed before, and ended with: {exc}") from exc

    def check_memory(self) -> None:
        """Raise Broken where it holds more than it may."""
        if (held := self.status.inflight_bytes) > MEMORY:
            raise Broken(f"memory: {self.name} holds {held} bytes, more than {MEMORY}")

    def _ended(self) -> None:
        self._world.after(RESTARTS_AFTER, self.begin)

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        self._world.say(self.name, "is told to stop")
        self.relay.stop()
        self.process.wake()

    def kill(self) -> None:
        """Kill it; it is started again."""
        if self.process.dead:
            return
        self._world.say(self.name, "is killed")
        self.process.kill()
        self._kind.killed(self)
        self._ended()

    def set_clock(self, ahead: float) -> None:
        """Set its machine's clock."""
        self._ahead = self.process.ahead = ahead
