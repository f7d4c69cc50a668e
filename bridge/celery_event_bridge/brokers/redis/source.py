"""Redis as the source: every replica hears every event, one forwards, the others stand by with what is not confirmed.

Nobody acknowledges to Redis, and nothing is left behind there but the lease, the record of its last holder and what was
parked. What the broker does for a bridge on RabbitMQ, to hold what is not confirmed, `Window` does here, in the memory
of each replica.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import hiredis
import msgspec

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.held import Hole, Position, Window
from celery_event_bridge.brokers.redis.lease import KEPT, LEASE, SCRIPT, Lease, Outcome, seen
from celery_event_bridge.brokers.redis.link import Link, connected
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable
from celery_event_bridge.contract.budget import Budget, Room
from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.envelope import Heard
    from celery_event_bridge.brokers.redis.settings import Settings

log = logging.getLogger("celery_event_bridge")
MOST_MESSAGES = 500
"""Messages that one call hands out, so that the loop turns."""
TELL = 0.05
"""Seconds between two words of who forwards, while events are confirmed: the overlap of a takeover is about as long."""
STEADY = 1.0
"""Seconds after which a connection that is lost was a good one, and another is made at once."""
PROBE = 0.5
"""Seconds between two messages of ours otherwise, by which each finds out that it hears."""
_RUN_ID = re.compile(rb"run_id:(\w+)")
_LOOK, _LATER_LOOK, _MARK = "look", "later look", "mark"
"""Kinds of what is asked; a later look is one that was sent when the last mark had been answered and not been heard."""


class Connect(Protocol):
    """Way to a server."""

    def __call__(self) -> Link:
        """Return a new connection. Raises BrokerUnavailable."""


class RedisSource:
    """See the protocol `celery_event_bridge.contract.broker.Source` for what each method does and when it is called."""

    depths: Mapping[str, int] = {}
    """There is no queue: who does not hear an event never gets it."""
    leaves_after = None

    def __init__(
        self,
        settings: Settings,
        location: Callable[[], str],
        connect: Connect | None = None,
        clock: Clock = time,
        owner: str = "",
    ) -> None:
        self._settings = settings
        self._names = settings.names
        self._location = location
        self._connect = connect or Servers(settings)
        self._clock = clock
        self._link: Link | None = None
        self._owner = owner or uuid.uuid4().hex
        self._lease = Lease(self._owner, "")
        self._window: Window | None = None
        self._budget = Budget(settings.max_inflight_bytes, settings.max_message_bytes)
        self._pausing = self._cancelled = False
        self._consuming = False
        self._asked: list[str] = []
        """Kinds of what was sent and is not answered, oldest first."""
        self._marks = 0
        self._unheard: str | None = None
        """Mark of ours that was sent last, until it is heard."""
        self._mark_due = 0.0
        self._heard_at = self._opened_at = 0.0
        self._forwarder: Position | None = None
        """Place up to which who forwards has confirmed, as heard last."""
        self._token = 0
        """The highest token that was heard."""
        self._standing_by_for = ""
        self._held_up: str | None = None

    @property
    def held_up(self) -> str | None:
        """Name what keeps anybody from forwarding; None while it is this one, or another one."""
        return self._held_up

    # Opening and closing -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and subscribe. What was heard before is kept, with a hole behind it."""
        link = self._connect()
        try:
            run = _run_id(link)
        except BaseException:
            link.close()
            raise
        now = self._clock.monotonic()
        first = self._window is None
        if self._window is None:
            self._window = Window(self._settings.max_inflight_bytes, now)
        self._link = link
        self._lease.new_connection(run)
        self._asked, self._unheard, self._mark_due = [], None, 0.0
        link.subscribe(self._names.patterns, (self._names.control, self._names.again), self._window.hear)
        now = self._clock.monotonic()
        if not first:
            # Others may have heard what this one has not: they go first.
            self._ask_lease("release")
            self._window.deafened(now - self._heard_at, now)
            log.info("subscribed to the events again, after %.1f s", now - self._heard_at)
        self._heard_at = self._opened_at = now

    def consume(self) -> None:
        """Begin to forward, as soon as the lease is ours."""
        self._consuming = True
        self._lease.hurry()

    def cancel(self) -> None:
        """Hand out nothing more; the lease stays ours until what is in hand is confirmed."""
        self._cancelled = True

    def let_go(self) -> None:
        """Let another one forward: this one cannot. What is not confirmed waits here all the same."""
        self._consuming = False
        self._window_now.put_back()
        self._lease.hurry()

    def close(self) -> None:
        """Say how far all is confirmed, and leave the lease to the next."""
        link = self._linked
        if self._lease.is_ours:
            self._ask_lease("release")
            self._send_mark(released=True)
            deadline = self._clock.monotonic() + 1.0
            while self._asked and self._clock.monotonic() < deadline:
                self._read(0.05)
        link.close()
        self._link = None

    def drop(self) -> None:
        """Abandon the connection; what was handed out waits here again."""
        if self._link is not None:
            self._link.close()
        self._link = None
        self._consuming = self._pausing = self._cancelled = False
        if self._window is not None:
            self._window.put_back()

    # The loop's calls ----------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Sequence[Heard]:
        """Hear what has come, see to the lease, and hand out events where we forward."""
        deadline = self._clock.monotonic() + timeout
        while True:
            now = self._clock.monotonic()
            self._attend(now)
            ready = self._may_hand_out(now) and self._window_now.waiting
            due = min(self._mark_due, now + 0.1)
            self._hear(0.0 if ready else max(0.0, min(deadline, due) - now))
            now = self._clock.monotonic()
            self._attend(now)
            # After what was read, or who was replaced meanwhile would hand out what the next one does.
            if self._may_hand_out(now) and self._window_now.waiting:
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
        self._window_now.acknowledge(acks)
        self._mark_due = min(self._mark_due, self._clock.monotonic() + TELL)

    def give_back(self, messages: Sequence[Ack]) -> None:
        """Take single ones back, to be handed out again."""
        self._window_now.give_back(messages)

    def make_room(self, lane: Any) -> None:
        """Nothing: no window of the broker's is used up by what stays in hand."""

    # Within --------------------------------------------------------------------------------------------------------

    @property
    def _linked(self) -> Link:
        if self._link is None:
            raise BrokerUnavailable("not connected")
        return self._link

    @property
    def _window_now(self) -> Window:
        assert self._window is not None, "opened"
        return self._window

    def _may_hand_out(self, now: float) -> bool:
        return self._consuming and not self._pausing and not self._cancelled and self._lease.holds(now)

    def _take(self) -> Sequence[Heard]:
        taken, holes = self._window_now.take(min(MOST_MESSAGES, self._settings.prefetch))
        for hole in holes:
            self._tell_of(hole)
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
        for reply in self._linked.read(timeout, self._window_now.hear, self._control):
            self._answered(self._asked.pop(0), reply)

    def _attend(self, now: float) -> None:
        """See to the lease, to our own marks, and to what is too old to be held."""
        if self._lease.expired(now):
            log.warning("the lease has run out before it was renewed: this bridge forwards nothing until it is its own")
        if self._lease.is_due(now):
            self._ask_lease(
                self._lease.action(now, wants=self._consuming, whole=self._window_now.knows(self._forwarder))
            )
        if self._unheard is None and now >= self._mark_due:
            self._send_mark()

    def _ask_lease(self, action: str) -> None:
        lease, now = self._lease, self._clock.monotonic()
        position = self._window_now.confirmed() if lease.is_ours else None
        mark, events = (position.mark, position.events) if position is not None else ("", 0)
        self._linked.send(
            "EVAL", SCRIPT, 2, self._names.lease, self._names.record,
            lease.owner, int(LEASE * 1000), action, mark, events, lease.run, self._location(), KEPT,
        )  # fmt: skip
        self._asked.append(_LATER_LOOK if self._unheard is not None and _MARK not in self._asked else _LOOK)
        lease.asked(now)

    def _send_mark(self, *, released: bool = False) -> None:
        now = self._clock.monotonic()
        lease = self._lease
        position = self._window_now.confirmed() if lease.is_ours else None
        self._marks += 1
        self._unheard = f"{self._owner[:12]}.{self._marks}"
        message = Control(self._unheard, self._owner, lease.token, position, released)
        self._linked.send("PUBLISH", self._names.control, msgspec.json.encode(message))
        self._asked.append(_MARK)
        if position is not None:
            self._forwarder = position
        self._mark_due = now + PROBE

    def _answered(self, kind: str, reply: Any) -> None:
        now = self._clock.monotonic()
        self._heard_at = now
        if isinstance(reply, hiredis.ReplyError):
            self._refused(kind, reply, now)
        elif kind is not _MARK:
            if kind is _LATER_LOOK and self._unheard is not None:
                raise BrokerUnavailable(
                    f"Redis at {self._linked.where} answers, and passes on no message of ours: this subscriber is deaf"
                )
            self._held_up = None
            self._looked(self._lease.answered(seen(reply), now), now)

    def _refused(self, kind: str, reply: Exception, now: float) -> None:
        text = f"Redis at {self._linked.where} refuses {'a message' if kind is _MARK else 'the lease'}: {reply}"
        if str(reply).startswith(("READONLY", "LOADING", "MASTERDOWN")):
            raise BrokerUnavailable(text)
        self._lease.unanswered(now)
        self._held_up = text
        notices.tell("rights" if str(reply).startswith("NOPERM") else "waiting", text, subject="lease")

    def _looked(self, outcome: Outcome, now: float) -> None:
        lease = self._lease
        if outcome.taken:
            self._standing_by_for = ""
            log.info("this bridge forwards the events of Redis at %s, and the others stand by", self._linked.where)
            self._tell_of_takeover(outcome, now)
        elif lease.holder and lease.holder not in (lease.owner, self._standing_by_for):
            self._standing_by_for = lease.holder
            log.info("another bridge forwards the events of Redis at %s: this one stands by", self._linked.where)
        if outcome.lost:
            log.warning("another bridge has taken over the lease: this one stands by")

    def _tell_of_takeover(self, outcome: Outcome, now: float) -> None:
        """Tell of what nobody has heard: from the last word of the one before to the beginning of what is here."""
        record, window = outcome.record, self._window_now
        if record is None or record.owner == self._owner:
            return
        if window.knows(record.position) or window.knows(self._forwarder):
            return
        seconds = (outcome.now - record.at) - (now - window.since)
        if seconds > 0:
            self._tell_of(Hole(seconds=seconds))

    def _tell_of(self, hole: Hole) -> None:
        if hole.seconds:
            notices.tell(
                "gap",
                f"no bridge was subscribed to the events of Redis at {self._linked.where} for {hole.seconds:.3g} s: "
                "what was published in that time is lost. More replicas make that less likely",
                subject="subscription",
                seconds=hole.seconds,
            )
        if hole.dropped:
            notices.tell(
                "dropped",
                f"{counted(hole.dropped, 'event')} of Redis at {self._linked.where} dropped: the sink took none for so "
                "long that BRIDGE_MAX_INFLIGHT_BYTES was used up, and Redis keeps no events",
                subject="memory",
                count=hole.dropped,
            )

    # What is heard of the others -----------------------------------------------------------------------------------

    def _control(self, item: list[Any]) -> None:
        if item[0] != b"message":
            return
        if item[1] == self._names.again:
            self._window_now.hear(item[2])
            return
        now = self._clock.monotonic()
        self._heard_at = now
        message = Control.read(item[2])
        if message is None:
            return
        window = self._window_now
        window.mark(message.mark, now)
        if message.owner == self._owner:
            if message.mark == self._unheard:
                self._unheard = None
            return
        if message.token < self._token or not message.token:
            return
        self._token = message.token
        self._forwarder = message.position
        if message.released:
            self._lease.hurry()
        if not self._lease.is_ours and not window.confirmed_elsewhere(message.position):
            window.drop_older(now - self._settings.standby_window)


def _run_id(link: Link) -> str:
    """Return the id of the server's process; empty where it may not be asked for. Raises BrokerUnavailable."""
    reply = link.ask("INFO", "server")
    found = _RUN_ID.search(reply) if isinstance(reply, bytes) else None
    return found[1].decode() if found else ""


class Servers:
    """Connects to the servers of BRIDGE_BROKER_URL in turn."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0

    def __call__(self) -> Link:
        """Return a connection to the next one. Raises BrokerUnavailable; then the one after it is next."""
        addresses = self._settings.addresses
        address = addresses[self._next % len(addresses)]
        self._next += 1
        return Link(connected(self._settings, address, name="celery-event-bridge"), address.where)
