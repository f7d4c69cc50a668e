"""Replica of the bridge: the real relay between models of its three ends, as a process that comes back when it ends."""

from __future__ import annotations

from collections.abc import Hashable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celery_event_bridge.contract.broker import RefusedForGood
from celery_event_bridge.forward.relay import Relay
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status
from tests.simulation.contract.parking import ModelParking
from tests.simulation.contract.source import ModelSource
from tests.simulation.process import Process
from tests.simulation.promises import Broken

if TYPE_CHECKING:
    from tests.simulation.kinds import Kind

SETTINGS = {
    "broker_name": None,
    "event_types": ("*",),
    "retry_max_interval": 5.0,
    "linger": 0.0,
    "let_go_after": 6.0,
    "shutdown_timeout": 5.0,
}
ON_TOP = 2.5
"""Largest messages, for each of the prefetch, that come on top of twice the budget, at which all goes back."""
EVENT_MEMORY, COUNTED = 600, 0.9
"""Bytes that an event takes beside its body, at least, and the part of the memory in hand that has to be counted."""
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
        if isinstance(self.source, ModelSource) and isinstance(self.parking, ModelParking):
            self.source.is_being_parked = self._is_being_parked
        self.status = status = Status()
        knobs = self._kind.play.knobs
        self._most = 2 * knobs.max_inflight_bytes + ON_TOP * knobs.prefetch * knobs.max_message_bytes
        settings = SimpleNamespace(
            **{**SETTINGS, **self._kind.relay},
            max_inflight_bytes=knobs.max_inflight_bytes,
            max_message_bytes=knobs.max_message_bytes,
        )
        self.relay = Relay(self.source, self.sink, self.parking, settings, Metrics(status), status, process)
        process.start()

    def _is_being_parked(self, lane: Hashable, tag: int) -> bool:
        relay: Any = self.relay
        under_way = [parcel.message for parcel in self.parking.under_way]
        return not relay._stopping and any(one.lane is lane and one.tag == tag for one in under_way)

    def _main(self) -> None:
        try:
            self.relay.run()
        except RefusedForGood as exc:
            if getattr(self.source, "has_consumed", False):
                raise Broken(f"ended: {self.name} has consumed before, and ended with: {exc}") from exc

    def check_memory(self) -> None:
        """Raise Broken where it holds more than it may, or than it counts."""
        status, held = self.status, self.status.inflight_bytes
        if not 0 <= held <= self._most:
            raise Broken(f"memory: {self.name} holds {held} bytes, less than none or more than {self._most:g}")
        in_hand = getattr(self.source, "in_hand", {})
        if in_hand and status.inflight_messages == len(in_hand) and not status.unparkable_messages:
            true = sum(len(one.body) + EVENT_MEMORY * max(1, len(one.events)) for one in in_hand.values())
            if held < COUNTED * true:
                raise Broken(f"memory: {self.name} counts {held} bytes for {true} that it holds")

    def check_outages(self) -> None:
        """Raise Broken where an end is there, and the next attempt put off, or its pauses long."""
        relay: Any = self.relay
        for outage in (relay._driver.outage, relay._parker._outage, relay._broker_outage):
            if outage.reason is None and (outage.due > self.process.monotonic() or outage._backoff.failures):
                raise Broken(f"held up: {self.name} puts off an end that is there")

    def check_rest(self) -> None:
        """Raise Broken where it holds anything, though nothing waits anywhere."""
        relay: Any = self.relay
        in_doubt = len(relay._driver._again) + len(relay._driver._doubted)
        held = (self.status.inflight_messages, self.status.inflight_bytes, in_doubt)
        if any(held) or relay._driver.waiting:
            raise Broken(f"held up: {self.name} holds {held} messages, bytes and events, and nothing waits")

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
