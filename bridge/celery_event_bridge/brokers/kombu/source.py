"""Transports of kombu as the source: a queue of the bridge's own, shared by the replicas."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.kombu.queue import ChannelQueue
from celery_event_bridge.brokers.kombu.settings import FILESYSTEM
from celery_event_bridge.brokers.no_events import NoEvents
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable
from celery_event_bridge.contract.budget import Budget
from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    from celery_event_bridge.brokers.envelope import Heard
    from celery_event_bridge.brokers.kombu.queue import Queue
    from celery_event_bridge.brokers.kombu.settings import Settings

MOST_MESSAGES = 500
"""Messages that one call hands out, so that the loop turns."""
LOOK_AFTER = 2.0
"""Seconds between two looks at the binding, the depth, and what others have left behind."""


class _Lane:
    """Generation of deliveries."""


class KombuSource:
    """See the protocol `celery_event_bridge.contract.broker.Source` for what each method does and when it is called."""

    leaves_after: float | None = None
    held_up: str | None = None

    def __init__(self, settings: Settings, queue: Queue, clock: Clock = time) -> None:
        self._settings = settings
        self._queue = queue
        self._clock = clock
        self._budget = Budget(settings.max_inflight_bytes, settings.max_message_bytes)
        self._lane: object = _Lane()
        self._in_hand: dict[int, Any] = {}
        """Deliveries by tag, in their order, each as the queue knows it."""
        self._tag = 0
        self._extra = 0
        self._connected = self._consuming = self._pausing = False
        self._looked_at = 0.0
        self._no_events = NoEvents(
            f"in queue {settings.queue} of {settings.scheme}://",
            f"{'the folders, control_folder' if settings.scheme in FILESYSTEM else 'the database'} and event_exchange",
        )
        self.depths: Mapping[str, int] = {}

    def open(self) -> None:
        """Connect, and bind the queue."""
        self._queue.open()
        self._connected = True
        self._look_after(self._clock.monotonic())

    def consume(self) -> None:
        """Begin to receive, on a lane of its own."""
        self._lane = _Lane()
        self._no_events.begin(self._clock.monotonic())
        self._consuming, self._pausing, self._extra = True, False, 0

    def poll(self, timeout: float) -> Sequence[Heard]:
        """Return what waits, up to what may be in hand; look again until the time is over."""
        deadline = Deadline(timeout, self._clock.monotonic)
        while True:
            now = self._clock.monotonic()
            if self._connected and now - self._looked_at >= LOOK_AFTER:
                self._look_after(now)
            if not self._room:  # what comes stays in the queue meanwhile
                self._no_events.begin(now)
            self._no_events.look(self._tag, now)
            if taken := self._take():
                return taken
            if deadline.passed:
                return ()
            self._clock.sleep(min(self._queue.pause, deadline.left()))

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        """Receive less, or more again."""
        self._pausing = self._budget.pauses(held_bytes, largest, paused=self._pausing)

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Let go for good; what was delivered on an earlier lane is the broker's again already."""
        for ack in acks:
            if ack.lane is not self._lane:
                continue
            for tag in self._up_to(ack.tag) if ack.multiple else [ack.tag]:
                if tag in self._in_hand:
                    self._queue.forget(self._in_hand[tag])
                    del self._in_hand[tag]

    def give_back(self, messages: Sequence[Ack]) -> None:
        """Put single ones back."""
        for each in messages:
            if each.lane is self._lane and each.tag in self._in_hand:
                self._queue.put_back(self._in_hand[each.tag])
                del self._in_hand[each.tag]

    def make_room(self, lane: object) -> None:
        """Receive one more."""
        if lane is self._lane:
            self._extra += 1

    def let_go(self) -> None:
        """Put all back, and receive nothing."""
        self._consuming = False
        for tag in [*self._in_hand]:
            self._queue.put_back(self._in_hand[tag])
            del self._in_hand[tag]

    def cancel(self) -> None:
        """Receive nothing more."""
        self._consuming = False

    def close(self) -> None:
        """Put back what is not settled, and disconnect."""
        self.let_go()
        self._queue.close()
        self._connected = False

    def drop(self) -> None:
        """Put back what can be, and disconnect."""
        try:
            self.let_go()
        except BrokerUnavailable:
            if isinstance(self._queue, ChannelQueue):
                self._queue.keep([*self._in_hand.values()])
        self._in_hand.clear()
        self._queue.drop()
        self._connected = self._consuming = False

    @property
    def _room(self) -> int:
        """Number of messages that may be taken."""
        if not self._consuming or self._pausing:
            return 0
        return max(0, self._settings.prefetch + self._extra - len(self._in_hand))

    def _take(self) -> Sequence[Heard]:
        if not (room := self._room):
            return ()
        taken = self._queue.take(
            self._lane, self._tag + 1, min(room, MOST_MESSAGES), self._settings.max_inflight_bytes // 2
        )
        for known_by, heard in taken:
            self._tag = heard.tag
            self._in_hand[heard.tag] = known_by
        return [heard for _, heard in taken]

    def _look_after(self, now: float) -> None:
        self._looked_at = now
        self._queue.look_after()
        self.depths = {self._settings.queue: self._queue.size()}

    def _up_to(self, tag: int) -> list[int]:
        tags = []
        for each in self._in_hand:  # in the order of delivery, and so growing
            if each > tag:
                break
            tags.append(each)
        return tags
