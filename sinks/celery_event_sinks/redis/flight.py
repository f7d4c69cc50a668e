"""The flight of one stream of a cluster: a connection of its own, to whichever node serves the stream.

What comes back, as the slot has moved or its node is gone, is held and goes out again as soon as the stream would store
it, in its order and before what comes later. Nobody outside hears of it unless that takes long.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, cast

from celery_event_bridge.contract import Advisor, Event, Outcome, Sink, SinkUnavailable, Verdict, Watcher
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.redis.client import Reply
from celery_event_sinks.redis.in_order import MULTI, OrderedRedisSink, Transactions
from celery_event_sinks.redis.replicas import Replicas
from celery_event_sinks.redis.sink import RedisStreamsSink
from celery_event_sinks.redis.slot_client import ASKING, SlotClient, SlotPipeline, SlotSettings

PROBE = 1.0
"""Seconds for the question whether a stream that has failed would store again; all others wait meanwhile."""
PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds until it is asked again, twice as many each time."""

WAIT_MILLISECONDS = 50
"""For one WAIT, for which all other streams wait, too."""


class SlotTransactions(Transactions):
    """Transactions that say ASKING where that is needed; it holds for all of a transaction."""

    def _begin(self) -> tuple[list[Reply], SinkUnavailable | None]:
        if not cast("SlotClient", self._client).asking:
            return super()._begin()
        replies, lost = self._client.exchange_packed((ASKING, MULTI), 2)
        return replies[1:], lost


class SlotSink(RedisStreamsSink):
    """A sink of one stream."""

    def __init__(self, settings: SlotSettings) -> None:
        super().__init__(settings)
        self._pipeline = SlotPipeline(cast("SlotClient", self._client))
        self._replicas = Replicas(self._client, settings.wait, settings.waitaof, WAIT_MILLISECONDS)

    def within(self, seconds: float) -> AbstractContextManager[Deadline]:
        """Give all that is asked one deadline."""
        return self._client.within(seconds)

    def await_by(self, poller: select.poll) -> bool:
        """Let the poller wake up when there is something to read, or room to write; returns whether it would."""
        try:
            sock = self._client.sock
        except OSError:
            return False
        poller.register(sock, select.POLLIN | (select.POLLOUT if self._pipeline.full else 0))
        return self._pipeline.owed > 0


class OrderedSlotSink(OrderedRedisSink):
    """The same in order."""

    def __init__(self, settings: SlotSettings) -> None:
        super().__init__(settings)
        self._pipeline = SlotTransactions(self._client)
        self._replicas = Replicas(self._client, settings.wait, settings.waitaof, WAIT_MILLISECONDS)

    def within(self, seconds: float) -> AbstractContextManager[Deadline]:
        """Give all that is asked one deadline."""
        return self._client.within(seconds)

    def await_by(self, poller: select.poll) -> bool:  # noqa: ARG002
        """Return that there is nothing to wait for: a transaction has been answered when it is written."""
        return False


class StreamSink(Sink, Watcher, Advisor, Protocol):
    """A sink of one stream, as a flight needs it."""

    def within(self, seconds: float) -> AbstractContextManager[Deadline]:
        """Give all that is asked one deadline."""

    def await_by(self, poller: select.poll) -> bool:
        """Let the poller wake up when there is something to do; returns whether it would."""


class Flight:
    """Events of one stream: with the sink of its connection, or held."""

    def __init__(self, sink: StreamSink, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.sink = sink
        self.name = name
        self._clock = clock
        self._handed = 0
        """Events that the connection's sink owes a verdict on."""
        self._held: deque[Event] = deque()
        """Events that came back, or came while the stream stored nothing, in order."""
        self._since = 0.0
        """Time since when the first of them is held."""
        self.trouble = ""
        """Reason why the stream stores nothing, by the last question; else empty."""
        self._reason = ""
        self._failures = 0
        self._due = 0.0

    @property
    def busy(self) -> bool:
        """Return whether the connection's sink owes a verdict."""
        return self._handed > 0

    @property
    def holds(self) -> bool:
        """Return whether events are held."""
        return bool(self._held)

    def send(self, events: Sequence[Event]) -> None:
        """Hand over, behind what is held."""
        if self._held or self.trouble:
            self._hold()
            self._held.extend(events)
            return
        self._handed += len(events)
        self.sink.send(events)

    def collect(self) -> Iterator[Verdict]:
        """Yield what is decided for good; what is to be tried again is held."""
        for verdict in self.sink.verdicts(0.0):
            self._handed -= len(verdict.events)
            if verdict.outcome is Outcome.RETRY:
                self._hold()
                self._held.extendleft(reversed(verdict.events))
                self._reason = verdict.reason
                self._fail()
                continue
            if verdict.outcome is Outcome.STORED:
                self._failures, self._since = 0, 0.0
            yield verdict

    def resume(self, now: float) -> bool:
        """Send what is held if it is time and the stream would store it; returns whether it was asked in vain."""
        if not self._held or self._handed or now < self._due:
            return False
        if not self.ask(PROBE):
            return True
        events = list(self._held)
        self._held.clear()
        self.send(events)
        return False

    def ask(self, seconds: float) -> bool:
        """Ask whether the stream would store; `trouble` says why not."""
        try:
            with self.sink.within(seconds):
                self.sink.available()
        except SinkUnavailable as exc:
            self.trouble = self._reason = str(exc)
            self._fail()
            return False
        self.trouble = ""
        return True

    def give_back(self) -> Verdict:
        """Give back all that is held."""
        events = list(self._held)
        self._held.clear()
        self._since = 0.0
        return Verdict(Outcome.RETRY, events, self._reason)

    def held_for(self, now: float) -> float:
        """Return for how many seconds the first has been held."""
        return now - self._since if self._held and self._since else 0.0

    def close(self) -> None:
        """Disconnect."""
        self._held.clear()
        self._handed, self._failures, self._since, self.trouble = 0, 0, 0.0, ""
        self.sink.close()

    def _hold(self) -> None:
        self._since = self._since or self._clock()

    def _fail(self) -> None:
        """Wait longer each time; the first time not at all, as the slot may have moved only."""
        pause = min(LONGEST_PAUSE, PAUSE * 2**self._failures) if self._failures else 0.0
        self._failures += 1
        self._due = self._clock() + pause
