"""Redis as the source: every replica hears every event, one forwards, the others stand by with what is not confirmed.

Nobody acknowledges to Redis, and nothing is left behind there but the lease, the record of its last holder and what was
parked. What the broker does for a bridge on RabbitMQ, to hold what is not confirmed, `Window` does here, in the memory
of each replica.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.no_events import NoEvents
from celery_event_bridge.brokers.redis.agreement import Agreement
from celery_event_bridge.brokers.redis.away import Away, Came
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.gaps import EVER, tell_of, tell_of_aside
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.lease import Outcome
from celery_event_bridge.brokers.redis.link import Link, Servers
from celery_event_bridge.brokers.redis.server import server
from celery_event_bridge.brokers.redis.spooled import Spooling
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable
from celery_event_bridge.contract.budget import Budget, Room
from celery_event_bridge.contract.clock import Clock

if TYPE_CHECKING:
    from celery_event_bridge.brokers.envelope import Heard
    from celery_event_bridge.brokers.redis.settings import Settings

log = logging.getLogger("celery_event_bridge")
MOST_MESSAGES = 500
"""Messages that one call hands out, so that the loop turns."""
ATTEND = 0.1
"""Seconds, at most, between two looks at what is due while nothing comes."""
STEADY = 1.0
"""Seconds after which a connection that is lost was a good one, and another is made at once."""
RECONNECT = 0.5
"""Seconds between two attempts to connect, at most: what is published meanwhile is gone, and how long that was is known
as exactly as the last one that failed."""
LAST_WORD = 1.0
"""Seconds that a stop waits for the lease to be given up."""


class RedisSource:
    """See the protocol `celery_event_bridge.contract.broker.Source` for what each method does and when it is called."""

    depths: Mapping[str, int] = {}
    """There is no queue: who does not hear an event never gets it."""
    leaves_after = None
    reconnects_within = RECONNECT

    def __init__(
        self,
        settings: Settings,
        location: Callable[[], str],
        connect: Callable[[], Link] | None = None,
        clock: Clock = time,
        owner: str = "",
    ) -> None:
        """`connect` returns a new connection, or raises BrokerUnavailable; `owner` names this replica."""
        self._settings = settings
        self._names = settings.names
        self._connect = connect or Servers(settings)
        self._clock = clock
        self._link: Link | None = None
        self._spooling = Spooling(settings, clock) if settings.spool is not None else None
        self._window = (
            self._spooling.window if self._spooling else Window(settings.max_inflight_bytes, clock.monotonic())
        )
        self._agreement = Agreement(settings, location, self._window, owner or uuid.uuid4().hex)
        self._gaps = self._agreement.gaps
        self._away = Away(len(settings.addresses[0].sentinels), alone=len(settings.addresses) == 1)
        looked_at = "the database, global_keyprefix and event_exchange"
        self._no_events = NoEvents(f"on channel {self._names.base.decode()}/*", looked_at)
        self._budget = Budget(settings.max_inflight_bytes, settings.max_message_bytes)
        self._consuming = self._pausing = self._cancelled = False
        self._heard_at: float | None = None
        """Time up to which all was heard, at least; None before the first connection."""
        self._read_at = 0.0
        """Time when all that had come was last read: what is read next came after it, however late that is."""
        self._opened_at = 0.0

    @property
    def held_up(self) -> str | None:
        """Name what keeps anybody from forwarding; None while it is this one, or another one."""
        return self._agreement.held_up

    @property
    def forwards(self) -> bool:
        """Return whether this one holds the lease."""
        return self._agreement.lease.holds(self._clock.monotonic())

    # Opening and closing -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and subscribe. What was heard before is kept, with a hole behind it."""
        try:
            link = self._connect()
        except BrokerUnavailable as exc:
            self._away.failed(exc, self._clock.monotonic())
            raise
        try:
            found = server(link, "server")
            self._window.cut()
            link.subscribe(self._names.patterns, (self._names.control, self._names.again), self._window.hear)
        except BaseException:
            link.close()
            raise
        self._link = link
        now, run = self._clock.monotonic(), found.run
        before, tokens = self._agreement.lease.run, self._agreement.tokens
        if away := self._away.ended(found, before, now):
            self._gaps.away(*away)
        self._agreement.begin(link, run, now)
        self._no_events.begin(now)
        if self._heard_at is None:
            self._window.since = now
            self._gaps.add(-EVER, now)
            if self._spooling is not None:
                self._spooling.look()
                self._spooling.adopt(now)
        else:
            # Others may have heard what this one has not: they go first.
            self._gaps.add(self._heard_at, now)
            self._agreement.give_up(now, now - self._heard_at)
            self._window.deafened(now - self._heard_at, now)
            if run != before:
                self._away.came = Came(now, now - self._heard_at, found.uptime, tokens)
            log.info("subscribed to the events again, after %.3g s", now - self._heard_at)
        self._window.subscribed(run, now)
        self._heard_at = self._opened_at = self._read_at = now

    def consume(self) -> None:
        """Begin to forward, as soon as the lease is ours."""
        self._consuming = True
        self._agreement.lease.hurry()

    def cancel(self) -> None:
        """Hand out nothing more; the lease stays ours until what is in hand is confirmed."""
        self._cancelled = True

    def let_go(self) -> None:
        """Let another one forward: this one cannot. What is not confirmed waits here all the same."""
        self._consuming = False
        self._window.put_back()
        self._agreement.lease.hurry()

    def close(self) -> None:
        """Say how far all is confirmed, leave the lease to the next, and to the others what only this one has."""
        link, now, agreement, aside = self._linked, self._clock.monotonic(), self._agreement, self._window.aside
        deadline = now + LAST_WORD
        if was_ours := agreement.lease.is_ours:
            agreement.give_up(now)
        while (aside.events or (was_ours and not agreement.quiet)) and (now := self._clock.monotonic()) < deadline:
            if aside.events:
                agreement.attend(now, wants=False)
            self._read(0.05)
        self._gaps.tell_all(link.where, now, forwards=was_ours)
        agreement.say_told(now)
        link.close()
        self._link = None
        if self._spooling is not None:
            self._window.put_back()
            self._spooling.close(self._clock.monotonic())

    def drop(self) -> None:
        """Abandon the connection; what was handed out waits here again."""
        was_open = self._link is not None
        if self._link is not None:
            self._link.close()
        self._link = None
        self._consuming = self._pausing = self._cancelled = False
        self._window.put_back()
        if self._spooling is not None and was_open:
            self._spooling.put_back(self._clock.monotonic())

    # The loop's calls ----------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Sequence[Heard]:
        """Hear what has come, see to the lease, and hand out events where we forward."""
        deadline = self._clock.monotonic() + timeout
        while True:
            now = self._clock.monotonic()
            self._no_events.look(self._window.next_number, now)
            self._agreement.attend(now, wants=self._consuming)
            if dropped := self._window.aside.tell():
                tell_of_aside(dropped, self._linked.where)
            self._agreement.tell_of_gaps(now)
            if self._spooling is not None:
                self._spooling.attend(now)
                if self._is_asked_for() and (inherited := self._spooling.inheritance.take(MOST_MESSAGES)):
                    return inherited
            until = min(deadline, self._agreement.due, now + ATTEND)
            self._hear(0.0 if self._may_hand_out(now) else max(0.0, until - now))
            # After what was read, or who was replaced meanwhile would hand out what the next one does.
            now = self._clock.monotonic()
            if self._may_hand_out(now):
                return self._take()
            if now >= deadline:
                return ()

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        """Hand out less, or more again. What is heard meanwhile waits here, within the bound."""
        room = self._budget.room(held_bytes, largest)
        if room in (Room.PAUSE, Room.GIVE_BACK):
            self._pausing = True
        elif room is Room.TAKE:
            self._pausing = False

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Let go of what is confirmed; the others are told shortly."""
        self._window.acknowledge(acks)
        if self._spooling is not None:
            self._spooling.inheritance.acknowledge(acks)
        self._agreement.confirmed(self._clock.monotonic())

    def give_back(self, messages: Sequence[Ack]) -> None:
        """Take single ones back, to be handed out again."""
        if self._spooling is not None:
            self._spooling.inheritance.give_back(messages)
        self._window.give_back(messages)

    def make_room(self, lane: Any) -> None:
        """Do nothing: no window of the broker's is used up by what stays in hand."""

    # Within --------------------------------------------------------------------------------------------------------

    @property
    def _linked(self) -> Link:
        if self._link is None:
            raise BrokerUnavailable("not connected")
        return self._link

    def _may_hand_out(self, now: float) -> bool:
        return self._is_asked_for() and self._window.waiting > 0 and self._agreement.lease.holds(now)

    def _is_asked_for(self) -> bool:
        return self._consuming and not self._pausing and not self._cancelled

    def _take(self) -> Sequence[Heard]:
        taken, holes = self._window.take(min(MOST_MESSAGES, self._settings.prefetch))
        for hole in holes:
            if hole.dropped:
                tell_of(hole, self._linked.where)
        return taken

    def _hear(self, timeout: float) -> None:
        """Read what has come. A connection that is lost is replaced at once: what is published meanwhile is gone."""
        try:
            self._read(timeout)
        except BrokerUnavailable as exc:
            if self._clock.monotonic() - self._opened_at < STEADY:
                raise
            log.warning("%s; subscribing again at once", exc)
            self._linked.close()
            self.open()

    def _read(self, timeout: float) -> None:
        number = self._window.next_number
        try:
            replies = self._linked.read(timeout, self._window.hear, self._pushed)
        finally:
            if self._window.next_number != number:
                self._heard_at = self._read_at
        now = self._clock.monotonic()
        for reply in replies:
            outcome = self._agreement.answered(reply, now)
            self._see_how_much_is_missed(now)
            if outcome.taken:
                self._tell_of_takeover(outcome, now)
        self._read_at = now

    def _pushed(self, item: list[Any]) -> None:
        """Take in what is no event: a mark, or what was parked and is sent again."""
        if item[0] != b"message":
            return
        self._heard_at = self._read_at
        if item[1] == self._names.again:
            self._window.hear_again(item[2])
        elif (message := Control.read(item[2])) is not None:
            self._agreement.heard(message, self._clock.monotonic())

    # What is lost --------------------------------------------------------------------------------------------------

    def _see_how_much_is_missed(self, now: float) -> None:
        """See how long nothing was heard at this server: in a partition, we were at another one that long."""
        if missed := self._away.missed(self._agreement.lease.last, now):
            begin, end = missed
            self._window.missed(end - begin)
            self._gaps.add(begin, end, apart=self._away.is_apart)

    def _tell_of_takeover(self, outcome: Outcome, now: float) -> None:
        record, agreement, window = outcome.record, self._agreement, self._window
        if record is None or record.said != agreement.lease.owner:
            known = record and (window.knows(record.position) or window.knows(agreement.forwarder))
            self._gaps.taken_over(outcome, now, None if known else window.since)
