"""Window whose end is in a spool, while memory does not last; and what others have left in theirs.

Order holds throughout: memory has the oldest, the file what was heard after that, and nothing that is heard goes into
memory until the file is empty.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.envelope import Heard, opened, sealed
from celery_event_bridge.brokers.redis import spool_place
from celery_event_bridge.brokers.redis.aside import ENTRY_MEMORY
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.lane import Lane
from celery_event_bridge.brokers.redis.spool import Spool
from celery_event_bridge.contract import LOOK_INTERVAL, notices
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable
from celery_event_bridge.contract.clock import Clock

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

log = logging.getLogger("celery_event_bridge")
TIDY = 1.0
"""Seconds between two looks at what can be removed from the file."""


class SpooledWindow(Window):
    """See `Window`. What can raise BrokerUnavailable here is said of the spool."""

    def __init__(self, max_bytes: int, now: float, spool: Spool, exchange: str) -> None:
        """Begin; `exchange` is Celery's, for what is sealed anew."""
        super().__init__(max_bytes, now)
        self._spool = spool
        self._exchange = exchange
        self._tail = self._next
        """Number of the first that is not in memory."""

    def hear(self, payload: bytes) -> None:
        """Add an event, to memory or to the file. Raises BrokerUnavailable."""
        if self._tail == self._next and self.waiting_bytes + self.aside.bytes <= self._max_bytes:
            super().hear(payload)
            self._tail = self._next
            return
        self._spool.add(self._next, payload)  # one that has no room there leaves a gap in the numbers
        self._next += 1

    def deafened(self, seconds: float, now: float) -> None:
        """Take note of a hole, at the end of what was heard."""
        if self._tail == self._next:
            super().deafened(seconds, now)
            return
        self._spool.add_hole(self._next, seconds)
        self._forget_marks(seconds, now)

    def missed(self, seconds: float) -> None:
        """Correct the length of the last hole, where it is in memory."""
        if self._tail == self._next:
            super().missed(seconds)

    def take(self, most: int) -> tuple[list[Heard], list[Hole]]:
        """Hand out up to so many, oldest first. Raises BrokerUnavailable."""
        self._refill()
        return super().take(most)

    def tidy(self) -> None:
        """Write what was heard, and remove from the file what is confirmed. Raises BrokerUnavailable."""
        self._spool.forget(min(self._first(), self._tail))

    def write_all(self, now: float) -> None:
        """Write what is in memory as well, for who comes after this one. Raises BrokerUnavailable."""
        wall = time.time() - now
        times = [(number, heard_at + wall) for _, number, heard_at in self._marks]

        def heard_at(number: int) -> float:
            return next((at for first, at in reversed(times) if first <= number), 0.0)

        for each in self._again:
            payload = each.body
            if not each.raw:
                payload = sealed(each.body, each.content_type, each.headers, self._exchange, each.routing_key)
            self._spool.keep(each.tag, payload, heard_at(each.tag))
        number = self._head
        for entry in self._waiting:
            if isinstance(entry, Hole):
                number += entry.dropped
                continue
            self._spool.keep(number, entry, heard_at(number))
            number += 1
        self._spool.flush()

    def _refill(self) -> None:
        if self._tail == self._next or self.waiting_bytes + self.aside.bytes > self._max_bytes // 2:
            return
        found = self._spool.load(self._tail, self._max_bytes // 2)
        for number, entry in found:
            if isinstance(entry, float):
                self._waiting.append(Hole(seconds=entry))
                continue
            self._step_over(number)
            self._waiting.append(entry)
            self.waiting_bytes += len(entry) + ENTRY_MEMORY
            self._tail = number + 1
        if not found:
            self._step_over(self._next)

    def _step_over(self, number: int) -> None:
        if number > self._tail:
            self._waiting.append(Hole(dropped=number - self._tail))
            self._tail = number

    def _drop_oldest(self) -> None:
        """Drop nothing: what comes next goes into the file."""

    def _drop_before(self, number: int, spans: Sequence[tuple[int, int]] = ()) -> None:
        super()._drop_before(min(number, self._tail), spans)
        if any(first < number and last > self._tail for first, last in spans):
            self._refill()  # what is to be set aside comes into memory first, and the next word goes on there
        elif number > self._tail:
            for _ in range(self._spool.forget(number)):
                self.since = self._deaf.popleft()[1]
            self._head = self._lost_from = self._tail = number


class Inheritance:
    """Events of others' files, which whoever has adopted them forwards, lease or not: nobody else has them."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lane = Lane()

    def take(self, most: int) -> list[Heard]:
        """Hand out up to so many, oldest first. Raises BrokerUnavailable."""
        taken = [opened(payload, self._lane, number) for number, payload in self._spool.inherited(most)]
        self._lane.queue += taken
        return taken

    def acknowledge(self, acks: Iterable[Ack]) -> None:
        """Remove what is stored. Raises BrokerUnavailable."""
        for ack in acks:
            if ack.lane is self._lane:
                stored = [
                    each.tag
                    for each in self._lane.queue
                    if each.tag == ack.tag or (ack.multiple and each.tag < ack.tag)
                ]
                self._lane.acknowledge(ack.tag, multiple=ack.multiple)
                self._spool.confirmed(stored)

    def give_back(self, acks: Iterable[Ack]) -> None:
        """Take single ones back: with all that is not confirmed, which is handed out again."""
        if any(ack.lane is self._lane for ack in acks):
            self.put_back()

    def put_back(self) -> None:
        """Hand out again what is not confirmed."""
        self._lane = Lane()
        self._spool.put_back()


class Spooling:
    """Spool of a replica, and all that uses it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        assert settings.spool is not None, "asked for"
        self._folder, self._max_bytes = settings.spool, settings.spool_max_bytes
        self._spool = Spool(self._folder, settings.queue, self._max_bytes)
        self.window = SpooledWindow(
            settings.max_inflight_bytes, clock.monotonic(), self._spool, settings.event_exchange
        )
        self.inheritance = Inheritance(self._spool)
        self._tidy_due = self._adopt_due = 0.0

    def look(self) -> None:
        """Log what is wrong with the directory, while there is time to mend it: it is used in an outage at first."""
        found = spool_place.judged(self._folder, self._max_bytes)
        if found.verdict != "ok":
            log.warning("%s", found.text)

    def attend(self, now: float) -> None:
        """Write and remove what is to be, and look for what others have left. Never raises: the events go on."""
        if now >= self._tidy_due:
            self._tidy_due = now + TIDY
            try:
                self.window.tidy()
            except BrokerUnavailable as exc:
                notices.tell("waiting", str(exc), subject="spool")
        if now >= self._adopt_due:
            self._spool.see_to_file()
            self.adopt(now)

    def adopt(self, now: float) -> None:
        """Take over what nobody else has. Never raises."""
        self._adopt_due = now + LOOK_INTERVAL
        since = self.window.since if self.window.is_whole else now
        try:
            self._spool.adopt(time.time() - (now - since))
        except BrokerUnavailable as exc:
            notices.tell("waiting", str(exc), subject="spool")

    def put_back(self, now: float) -> None:
        """Hand out again what is not confirmed, and write what is in memory: this one may not live on. Never raises."""
        self.inheritance.put_back()
        try:
            self.window.write_all(now)
        except BrokerUnavailable as exc:
            log.warning("%s", exc)

    def close(self, now: float) -> None:
        """Leave what is not confirmed to who comes next. Never raises."""
        self._spool.see_to_file()
        self.put_back(now)
        with suppress(BrokerUnavailable):
            if aside := self.window.aside.events:
                self._spool.leave(aside.values())
            self.window.tidy()
        self._spool.close()
