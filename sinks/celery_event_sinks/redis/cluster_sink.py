"""A Redis Cluster as a sink: a flight a stream, since each stream has a slot, and a slot may move by itself.

See docs/how-to/redis-cluster.md.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Sequence

from celery_event_bridge.contract import Event, Finding, SinkUnavailable, Verdict, notices
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.redis.flight import PROBE, Flight, OrderedSlotSink, SlotSink
from celery_event_sinks.redis.names import StreamNames
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.slot_client import SlotSettings, slots_of
from celery_event_sinks.redis.timed import REPLY_TIMEOUT

HOLD = 10.0
"""Seconds for which events of a stream that stores nothing wait here, while others store; then they are given back."""
SOON = 0.001
"""Seconds to wait at a time where no connection tells when to go on."""


class RedisClusterSink:
    """Events into streams of a cluster."""

    name = "redis"
    Settings = RedisSettings

    def __init__(self, settings: RedisSettings, *, in_order: bool = False, hold: float = HOLD) -> None:
        self._names = StreamNames(settings.stream, settings.shards)
        self._slots = slots_of(settings.url, settings.tls_options())
        kind = OrderedSlotSink if in_order else SlotSink
        self._flights = {
            stream: Flight(kind(SlotSettings.of(settings, self._slots, stream)), stream.decode(errors="replace"))
            for stream in self._names.all
        }
        self._hold = hold
        self._early: list[Verdict] = []
        """Decided during a look: what comes later must not overtake what has come back."""
        self.troubles: dict[str, str] = {}

    def open(self) -> None:
        """Find the nodes, and one that serves a stream."""
        failure: SinkUnavailable | None = None
        deadline = Deadline(REPLY_TIMEOUT)
        for flight in self._flights.values():
            try:
                with flight.sink.within(max(PROBE, deadline.left())):
                    flight.sink.open()
                return
            except SinkUnavailable as exc:
                failure = failure or exc
                if deadline.passed:
                    break
        if failure is not None:
            raise failure

    def available(self) -> None:
        """Ask each stream. Raises SinkUnavailable if none would store."""
        self._ask(self._flights.values())
        self._tell()
        if len(self.troubles) == len(self._flights):
            raise SinkUnavailable(next(iter(self.troubles.values())))

    def look(self) -> None:
        """Let each flight look that is not in trouble, and ask those that are."""
        deadline = Deadline(REPLY_TIMEOUT)
        for flight in self._flights.values():
            if flight.trouble or deadline.passed:
                continue
            try:
                with flight.sink.within(deadline.left()):
                    flight.sink.look()
            except SinkUnavailable as exc:
                flight.trouble = str(exc)
            self._early += flight.collect()
        self._ask(flight for flight in self._flights.values() if flight.trouble and not flight.busy)
        self._tell()
        if len(self.troubles) == len(self._flights):
            raise SinkUnavailable(next(iter(self.troubles.values())))

    def send(self, events: Sequence[Event]) -> None:
        """Hand each over to the flight of its stream."""
        parts: dict[bytes, list[Event]] = {}
        for event, stream in zip(events, self._names.of(events), strict=True):
            parts.setdefault(stream, []).append(event)
        for stream, part in parts.items():
            self._flights[stream].send(part)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Return what is decided; waits for any of the connections."""
        deadline = Deadline(timeout)
        early, self._early = self._early, []
        if early:
            return early
        while True:
            decided = [verdict for flight in self._flights.values() if flight.busy for verdict in flight.collect()]
            decided += self._see_to_held()
            left = deadline.left()
            if decided or not left:
                return decided
            self._wait(left)

    def location(self) -> str:
        """Return the nodes as the URL has them, and the streams."""
        return f"redis {self._slots.cluster.where} {b' '.join(self._names.all).decode(errors='replace')}"

    def advice(self) -> Sequence[Finding]:
        """Return what is wrong with some streams, and what the nodes' settings may lose."""
        findings = [Finding("FAIL", reason) for reason in dict.fromkeys(self.troubles.values())]
        said: dict[str, Finding] = {}
        deadline = Deadline(REPLY_TIMEOUT)
        for flight in self._flights.values():
            if flight.trouble or flight.busy or deadline.passed:
                continue
            with flight.sink.within(deadline.left()):
                said.update((finding.text, finding) for finding in flight.sink.advice())
        return [*findings, *said.values()]

    def close(self) -> None:
        """Disconnect."""
        for flight in self._flights.values():
            flight.close()

    def _ask(self, flights: Iterable[Flight]) -> None:
        deadline, reason = Deadline(REPLY_TIMEOUT), ""
        for flight in flights:
            if reason and deadline.passed:
                flight.trouble = flight.trouble or reason  # there may be many of them
            elif not flight.ask(max(PROBE, deadline.left())):
                reason = flight.trouble

    def _see_to_held(self) -> list[Verdict]:
        """Send again what is held, where that can be; returns what is given back."""
        now = time.monotonic()
        holding = [flight for flight in self._flights.values() if flight.holds]
        if not holding:
            return []
        for flight in holding:
            if flight.resume(now):
                break  # it may have taken a while
        self._tell()
        none = len(self.troubles) == len(self._flights)
        return [
            flight.give_back()
            for flight in holding
            if flight.holds and ((none and flight.trouble) or flight.held_for(now) > self._hold)
        ]

    def _wait(self, seconds: float) -> None:
        poller = select.poll()
        awaited = [flight.sink.await_by(poller) for flight in self._flights.values() if flight.busy]
        if all(awaited) and awaited:
            poller.poll(1000 * min(seconds, 0.05))
        else:
            time.sleep(min(seconds, SOON if awaited else 10 * SOON))

    def _tell(self) -> None:
        """Take note of the streams that store nothing, and tell of it while others do."""
        found = {flight.name: flight.trouble for flight in self._flights.values() if flight.trouble}
        before, self.troubles = self.troubles, found
        for name in before.keys() - found.keys():
            notices.over("stream-down", f"the stream {name!r} stores again", subject=name)
        if len(found) == len(self._flights):
            return
        for name, reason in found.items():
            if name not in before:
                text = f"{reason}; what belongs into the stream {name!r} waits, and the other streams store"
                notices.tell("stream-down", text, subject=name, every=0.0)
