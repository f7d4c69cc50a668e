"""Agreement of the replicas: who forwards, how far that one is, and whether this one hears at all.

All of it is said on the connection that hears the events. A *mark* of ours, published and heard again, shows that this
subscriber is not deaf: what is asked after it was answered is answered after it was heard. A client whose subscription
is gone on a connection that works would find out in no other way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import hiredis
import msgspec

from celery_event_bridge.brokers.redis.aside import Turn
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.gaps import Gaps
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.holding_on import HoldingOn, is_without_writes
from celery_event_bridge.brokers.redis.lease import KEPT, LEASE, SCRIPT, Lease, Outcome, seen, written
from celery_event_bridge.brokers.redis.peers import Peers
from celery_event_bridge.brokers.redis.roles import Roles
from celery_event_bridge.brokers.redis.silences import EVER, Position
from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.link import Link
    from celery_event_bridge.brokers.redis.settings import Settings

log = logging.getLogger("celery_event_bridge")
TELL = 0.05
"""Seconds between two words of who forwards, while events are confirmed: the overlap of a takeover is about as long."""
MOST_TOKENS = 20
PROBE = 0.5
"""Seconds between two marks of ours otherwise."""
ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN")
"""Beginnings of errors that mean another server, or this one later."""
NO_RIGHT = "user executing the script can't"
"""Part of the error of a command in the script that the user may not run."""
_LOOK, _LATER_LOOK, _MARK, _AGAIN, _MEND = "look", "later look", "mark", "again", "mend"
"""Kinds of what is asked; a later look is one that was sent when the last mark had been answered and not been heard."""


class Agreement:
    """Part of one replica. All times are monotonic, in seconds."""

    def __init__(self, settings: Settings, location: Callable[[], str], window: Window, owner: str) -> None:
        """`location` says where we store, for the others to see; `window` has what was heard."""
        self._names = settings.names
        self._standby_window = settings.standby_window
        self._location = location
        self._window = window
        self.lease = Lease(owner, "")
        self._owner = owner
        self._link: Link | None = None
        self._asked: list[str] = []
        """Kinds of what was sent and is not answered, oldest first."""
        self._marks = 0
        self._unheard: str | None = None
        """Mark of ours that was sent last, until it is heard."""
        self._sent = self._last_sent = -EVER
        """Times when the last mark of ours was sent, and the last that was heard: what comes after it was said then."""
        self.due = 0.0
        """Time when the next mark is to be sent."""
        self.forwarder: Position | None = None
        """Place up to which all is confirmed, by the last word of who forwards."""
        self.gaps = Gaps()
        self._token = 0
        """The highest token that was heard on this server."""
        self.tokens: list[int] = []
        """Tokens of who was known to hold the lease of this server, the last ones."""
        self._turn = Turn(owner)
        self._peers = Peers(settings)
        self._aside_before = 0
        """Events that were set aside when some were published again last."""
        self._roles = Roles()
        self._holding_on = HoldingOn()
        self._obstacles: dict[str, str] = {}
        """By the kind of what was refused: each stands until the next of that kind is not."""

    @property
    def held_up(self) -> str | None:
        """Reason that keeps this one from forwarding, and from being replaced by another; None where nothing does."""
        return next(iter(self._obstacles.values()), None)

    @property
    def quiet(self) -> bool:
        """Return whether nothing that was asked is without an answer."""
        return not self._asked

    def tell_of_gaps(self, now: float) -> None:
        """Tell of what is known to be lost, and say so at once: nobody else has to."""
        confirmed, forwards = now - self._window.age(now), self.lease.is_ours
        if self.gaps.tell(self._linked.where, now, confirmed, forwards=forwards):
            self.lease.hurry()
            self.due = float("-inf")

    def begin(self, link: Link, run: str, now: float) -> None:
        """Go on by another connection; `run` is the id of the server's process."""
        if run != self.lease.run:
            self._token, self.tokens = 0, []
            self.gaps.another_server(now)
        self._link = link
        self.lease.new_connection(run)
        self._asked, self._unheard, self.due = [], None, 0.0
        self._holding_on = HoldingOn()
        self._obstacles.clear()

    def attend(self, now: float, *, wants: bool) -> None:
        """See to the lease and to our marks. Raises BrokerUnavailable."""
        if self.lease.expired(now):
            log.warning("the lease has run out before it was renewed: this bridge forwards nothing until it is its own")
        if self.lease.is_due(now):
            whole = self._window.knows(self.forwarder)
            self.ask(self.lease.action(now, wants=wants, whole=whole), now)
        if self._unheard is None and now >= self.due:
            self.send_mark(now)
        self._peers.look(now)

    def confirmed(self, now: float) -> None:
        """Tell the others shortly that more is confirmed."""
        self.due = min(self.due, now + TELL)

    def ask(self, action: str, now: float, deaf: float = 0.0) -> None:
        """Ask for the lease, or look at it, having heard nothing for so many seconds. Raises BrokerUnavailable."""
        lease = self.lease
        position = self._window.confirmed() if lease.is_ours else None
        mark, events = (position.mark, position.events) if position is not None else ("", 0)
        age = max(deaf, self._window.age(now))
        self._linked.send(
            "EVAL", SCRIPT, 2, self._names.lease, self._names.record,
            lease.owner, int(LEASE * 1000), action, mark, events, lease.run, self._stored_in(), KEPT,
            int(age * 1000), written(self.gaps.unheard(now), age),
        )  # fmt: skip
        self._asked.append(_LATER_LOOK if self._unheard is not None and _MARK not in self._asked else _LOOK)
        lease.asked(now)

    def send_mark(self, now: float, *, released: bool = False) -> None:
        """Publish a mark, with how far all is confirmed. Raises BrokerUnavailable."""
        position = self._window.confirmed() if self.lease.is_ours else None
        self._marks += 1
        self._unheard, self._sent = f"{self._owner[:12]}.{self._marks}", now
        window = self._window
        age = window.age(now)
        message = Control(
            self._unheard, self._owner, self.lease.token, position, released,
            window.silences.told(now, age), len(window.aside.events), round(age, 3), self.gaps.unheard(now),
            self.gaps.told(now), self._peers.ours.types, self._peers.ours.name, self._holding_on.said(self._unheard),
            self.gaps.apart(now),
        )  # fmt: skip
        self._linked.send("PUBLISH", self._names.control, msgspec.json.encode(message))
        self._asked.append(_MARK)
        if position is not None:
            self.forwarder = position
        self.due = now + PROBE

    def say_told(self, now: float) -> None:
        """Say a last word, so that nobody else tells of the same gaps. Never raises."""
        if self.gaps.told(now):
            with suppress(BrokerUnavailable):
                self.send_mark(now, released=True)

    def give_up(self, now: float, deaf: float = 0.0) -> None:
        """Say how far all is confirmed, and leave the lease to another one. Raises BrokerUnavailable."""
        self.ask(self.lease.farewell(now), now, deaf)
        self.send_mark(now, released=True)

    def answered(self, reply: Any, now: float) -> Outcome:
        """Take the answer to the oldest question. Raises BrokerUnavailable, where this subscriber is deaf too."""
        if not self._asked:
            raise BrokerUnavailable(f"Redis at {self._linked.where} answers what nobody asked: is it Redis?")
        kind = self._asked.pop(0)
        if kind is _LATER_LOOK and self._unheard is not None:
            raise BrokerUnavailable(
                f"Redis at {self._linked.where} answers, and passes on no message of ours: this subscriber is deaf"
            )
        if isinstance(reply, hiredis.ReplyError):
            self._refused(kind, reply, now)
            return Outcome()
        if kind in (_MARK, _AGAIN, _MEND):
            self._obstacles.pop(kind, None)
            return Outcome()
        try:
            found = seen(reply)
        except (ValueError, TypeError) as exc:
            raise BrokerUnavailable(f"Redis at {self._linked.where} answers strangely: is it Redis?") from exc
        self._holding_on = HoldingOn()
        # It may begin anew, as where the record was deleted: who forwards now would be passed over for ever.
        self._token = min(self._token, found.token)
        outcome = self.lease.answered(found, now)
        if self.lease.is_ours:
            self._note(self.lease.token)
        self._tell_of_roles(outcome)
        return outcome

    def heard(self, message: Control, now: float) -> None:
        """Take in a mark, ours or another one's."""
        is_awaited = message.mark == self._unheard
        if is_awaited:
            self._unheard, self._last_sent = None, self._sent
            self._holding_on.heard(message.mark, now)
        self._window.mark(message.mark, now, self._last_sent)
        if self._turn.heard(message.owner, message.aside, now) and is_awaited:
            self._publish_again(now)
        if message.owner != self._owner:
            forwards = 0 < message.token >= self._token
            self.gaps.heard(message, self._last_sent, now, forwards=forwards)
            self._heard_of_another(message, now)

    def _note(self, token: int) -> None:
        if token not in self.tokens:
            self.tokens = [*self.tokens, token][-MOST_TOKENS:]

    def _heard_of_another(self, message: Control, now: float) -> None:
        self._peers.heard(message, now)
        if not message.token or message.token < self._token:
            return  # who stands by, or one that was replaced and does not know
        self._token = message.token
        self._note(message.token)
        if message.holds_on:
            self.lease.another_holds_on()
            self._holding_on.another(now)
        if message.position is not None:
            self.forwarder = message.position
        if message.released:
            self.lease.hurry()
        if not self.lease.is_ours and not message.aside:  # what it has set aside lies before that place
            said = self._last_sent, now
            if not self._window.confirmed_elsewhere(message.position, message.silences, said):
                self._window.drop_older(now - self._standby_window)
        if self._window.aside.events and self._turn.is_free(now):
            self.due = now

    def _publish_again(self, now: float) -> None:
        """Publish some of what is set aside; the next mark asks for more."""
        aside = self._window.aside
        for payload in aside.first():
            self._linked.send("PUBLISH", self._names.again, payload)
            self._asked.append(_AGAIN)
        if len(aside.events) != self._aside_before:  # else what was published is not heard
            self.due = now
        self._aside_before = len(aside.events)

    @property
    def _linked(self) -> Link:
        assert self._link is not None, "begun"
        return self._link

    def _stored_in(self) -> str:
        try:
            return self._location()
        except SinkUnavailable:
            return ""

    def _refused(self, kind: str, reply: Exception, now: float) -> None:
        kind = _LOOK if kind is _LATER_LOOK else kind
        what = "the lease" if kind is _LOOK else "a message of ours"
        text = f"Redis at {self._linked.where} refuses {what}: {reply}"
        if str(reply).startswith(ELSEWHERE):
            raise BrokerUnavailable(text)
        if kind is _MARK:
            self._unheard = None  # nobody hears it
        elif kind is _LOOK and is_without_writes(text):
            ours = self.lease.hold_on(now, self._holding_on.told_at)
            if ours and not self._holding_on.begun:
                self._holding_on.begun, self.due = True, now
            text = f"{text}; {self._holding_on.consequence(now, ours=ours)}"
        elif kind is _LOOK:
            self.lease.unanswered(now)
            if "WRONGTYPE" in text:
                self._mend()
                return
        is_right = "NOPERM" in text or NO_RIGHT in text
        text += "; `celery-event-bridge check` names the right that its user lacks" if is_right else ""
        self._obstacles[kind] = text
        notices.tell("rights" if is_right else "waiting", text, subject="lease")

    def _mend(self) -> None:
        """Delete both keys: somebody has put something else there. A lease that was deleted is waited out."""
        names = self._names
        keys = f"{names.lease.decode()} or {names.record.decode()}"
        text = f"{keys} in Redis at {self._linked.where} is of another type than a bridge's, and is deleted"
        self._obstacles[_LOOK] = text
        notices.tell("competitor", f"somebody has overwritten the lease: {text}", subject="keys")
        self._linked.send("DEL", names.lease, names.record)
        self._asked.append(_MEND)

    def _tell_of_roles(self, outcome: Outcome) -> None:
        self._obstacles.pop(_LOOK, None)
        if text := self._roles.tell(outcome, self.lease, self._linked.where, self._stored_in):
            self._obstacles[_LOOK] = text
