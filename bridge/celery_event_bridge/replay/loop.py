"""An event's way out of one stream and on to its target, top to bottom; and what is committed of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.target import Target
from celery_event_bridge.reading.event import StoredEvent
from celery_event_bridge.reading.picked import FromBroker
from celery_event_bridge.reading.session import Events
from celery_event_bridge.replay.order import ByTime, Picked, Settled
from celery_event_bridge.replay.pace import Pace
from celery_event_bridge.replay.pick import Between, NotAnEvent, event_of, time_of

COMMIT_INTERVAL = 1.0
"""Seconds between two commits: what a kill doubles at most, beside what is on its way."""
HEARD_INTERVAL = 1.0
"""Seconds after which the broker hears of us, though there is nothing to send."""
LONGEST_WAIT = 0.25
"""Seconds in which a signal is noticed."""


class Figures(msgspec.Struct):
    """Result of a replay."""

    read: int = 0
    """Events of the stream, those that are not picked too."""
    matched: int = 0
    """Number of these that are picked to be sent on."""
    sent: int = 0
    """Confirmed by the target."""
    refused: int = 0
    """Not sent on, each with a line that says why."""
    gone: int = 0
    """Records that were gone from the stream before they were read, at least."""
    shared: bool = False
    """True if another reader of the group has taken over some of it, which it sends on again."""
    interrupted: bool = False


class Replay:
    """`run` until the stream's end, or until `stop`."""

    def __init__(
        self,
        events: Events,
        target: Target,
        *,
        group: bool,
        wanted: Callable[[str], bool],
        between: Between,
        pace: Pace,
        refused: Callable[[str], None],
        progress: Callable[[int, int], None],
        patience_to_stop: float,
        broker: FromBroker | None = None,
    ) -> None:
        """`wanted` picks types, and `broker` brokers: were it the reader, it would not come back before it has found
        one, and the broker would take us for dead. `refused` is called with a line for each event that is not sent on,
        `progress` with the time that it has come to, in microseconds since 1970, and how many are confirmed.
        `patience_to_stop`: seconds to wait for the confirms of what is on its way when stopped.
        """
        self._events = events
        self._target = target
        self._group = group
        self._wanted = wanted
        self._broker = broker
        self._between = between
        self._pace = pace
        self._refused = refused
        self._progress = progress
        self._patience_to_stop = patience_to_stop
        self._waiting = ByTime()
        self._settled = Settled()
        self._sent: dict[int, str] = {}
        """Ids of what is handed over and undecided, by number."""
        self._committed = -1
        self._committed_at = self._waited_at = time.monotonic()
        self._stopping = False
        self.figures = Figures()

    def stop(self) -> None:
        """Send nothing more; what is on its way is waited for and committed. May be called from a signal handler."""
        self._stopping = True
        self._events.stop()

    def run(self) -> None:
        """Raises BrokerUnavailable or SinkUnavailable; what was confirmed until then is committed all the same."""
        try:
            for stored in self._events:
                self._pick(stored)
                while self._waiting.enough and not self._stopping:
                    self._send(self._waiting.next())
                if self._stopping:
                    break
                if time.monotonic() - self._waited_at >= HEARD_INTERVAL:
                    self._wait(0.0)
            while self._waiting and not self._stopping:
                self._send(self._waiting.next())
            self._finish()
        except (BrokerUnavailable, SinkUnavailable):
            self._note()
            self._commit_what_is_left()
            raise
        finally:
            self.figures.gone = self._events.skipped

    def _pick(self, stored: StoredEvent) -> None:
        number = stored.number
        self.figures.read += 1
        self._settled.enter(number)
        wanted, named = self._wanted(stored.type), self._broker is None or self._broker(stored.broker)
        if stored.problem is None and not (wanted and named):
            self._settled.settle(number)
            return
        try:
            event = event_of(stored)
        except NotAnEvent as exc:
            self._refuse(number, stored.id, str(exc))
            return
        at = time_of(stored, event)
        if self._between.holds(at):
            self.figures.matched += 1
            self._waiting.add(number, stored.record.partition, event, at)
        else:
            self._settled.settle(number)

    def _send(self, picked: Picked) -> None:
        """Send it on, once it is due and there is room for it."""
        target, event = self._target, picked.event
        if (due := self._pace.due(picked.time, time.monotonic())) > time.monotonic():
            self._wait_until(due)
        while target.full and not self._stopping:
            self._wait(LONGEST_WAIT)
        if self._stopping:
            return
        self._sent[picked.number] = event.id
        target.put(picked.number, event)
        self._progress(picked.time, self.figures.sent)
        if self._group and time.monotonic() - self._committed_at >= COMMIT_INTERVAL:
            self._note()
            self._commit()

    def _wait_until(self, due: float) -> None:
        while not self._stopping and (left := due - time.monotonic()) > 0:
            self._wait(min(left, LONGEST_WAIT))
            if self._group and time.monotonic() - self._committed_at >= COMMIT_INTERVAL:
                self._commit()

    def _wait(self, timeout: float) -> None:
        self._target.wait(timeout)
        self._waited_at = time.monotonic()
        self._events.alive()  # it may be long until the next one is asked for, and the group must not take us for dead
        self._note()

    def _finish(self) -> None:
        """Wait until all that is on its way is decided, or for so long where it was stopped."""
        deadline = Deadline(self._patience_to_stop)
        while self._target.owed and not (self._stopping and deadline.passed):
            self._wait(LONGEST_WAIT)
        self._note()
        self.figures.interrupted = self._stopping
        if self._group:
            self._commit()

    # What is settled --------------------------------------------------------------------------------------------

    def _note(self) -> None:
        """Take note of what the target has decided."""
        for decided in self._target.take():
            event_id = self._sent.pop(decided.number)
            if decided.refused is None:
                self.figures.sent += 1
                self._settled.settle(decided.number)
            else:
                self._refuse(decided.number, event_id, decided.refused)

    def _refuse(self, number: int, event_id: str, why: str) -> None:
        self.figures.refused += 1
        self._refused(f"event {event_id}: {why}")
        self._settled.settle(number)

    def _commit(self) -> None:
        """Commit the position up to which all is settled, if anybody has received anything of it."""
        self._committed_at = time.monotonic()
        if self._settled.until > self._committed and self._target.received:
            clean = self._events.commit(self._settled.until)
            self._committed = self._settled.until
            self.figures.shared = self.figures.shared or not clean

    def _commit_what_is_left(self) -> None:
        if self._group:
            try:
                self._commit()
            except SinkUnavailable:
                pass  # that one is told of already, or the other end is; what is not committed comes again
