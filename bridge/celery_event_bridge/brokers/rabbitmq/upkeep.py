"""Upkeep of what is ours on the broker: queues, binding and exchange, looked at again every ten seconds.

Anybody who may can delete a queue, unbind it, or delete the exchange, which any worker then declares again: the
exchange alone, and not our binding to it. All of it is declared again with each look, which changes nothing where it is
there. What had been missing is a gap, and told of. How it is known, since AMQP has no question for a binding:

- A queue, or the exchange itself, is missing: a passive declare says so.
- The exchange was deleted and declared anew: our witness is gone, an exchange that deletes itself with its last
  binding, which is the one to the event exchange (seen with RabbitMQ 3.10.8).
- The queue was deleted and declared anew: a witness of the same kind, bound to it, is gone; or RabbitMQ has cancelled
  our consumer, which it does not always (seen with 3.10.8).
- The binding alone was removed: the management API says so, which is asked with each new connection. Without it: events
  stop for longer than they did lately, and come again right after it was declared. A guess, told as one: no gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from amqp.exceptions import AccessRefused, PreconditionFailed, ResourceLocked

from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.differing import DifferingQueues
from celery_event_bridge.brokers.rabbitmq.migration_marks import Moving, Route, moving
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.topology import (
    QueueSpec,
    Topology,
    declare_as_asked,
    declare_exchange,
    declare_mark,
    declare_witness,
    explain,
    name_the_type,
)
from celery_event_bridge.brokers.rabbitmq.upkeep_notices import A_DAY, UpkeepNotices
from celery_event_bridge.brokers.rabbitmq.witnesses import missing_queues, witnesses
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

QUIET_AFTER = 60.0
"""Seconds without an event after which it is said: a worker with events switched on sends a heartbeat every two."""
SUSPICIOUS_SILENCE = 2.0
"""Seconds, at least, of a silence that a removed binding may explain."""
AT_ONCE = 1.0
"""Seconds, at most, from the new binding to the first event behind it: later ones are explained by chance as well."""
FORGOTTEN_AFTER = 300.0
"""Seconds."""
_NOT_OURS = ", and BRIDGE_DECLARE=false leaves it to you"


class Upkeep:
    """Declares, looks, declares again. All calls come from the thread that owns the connection."""

    def __init__(
        self,
        topology: Topology,
        *,
        declares: bool,
        find_route: Callable[[], Route | None] = lambda: None,
        quiet_after: float = QUIET_AFTER,
    ) -> None:
        """Begin; without `declares` nothing is put right: the queues are somebody else's to declare.

        `find_route` says whether the binding is there (None: nobody knows), and is asked before it is declared.
        """
        self._find_route = find_route
        self._quiet_after = quiet_after
        self._topology = topology
        self._declares = declares
        self._notices = UpkeepNotices(topology.exchange, topology.name)
        self.differing = DifferingQueues(topology.name)
        self._questions: Questions | None = None
        """On the connection that is there."""
        self._seen: set[str] = set()
        """Queues that were there before, by name; also before this process began, where the broker shows it."""
        self._absent: set[str] = set()
        """Queues beside the live one that are not there, and that this bridge cannot declare."""
        self._missing: set[str] = set()
        """Queues that were found missing, and not told of: a connection can be lost in between."""
        self._cancelled: set[str] = set()
        """Queues whose consumer the broker has cancelled since the last connection was made."""
        self._declared = False
        """True once everything could be declared."""
        self._witnessed = False
        """True if our witness was there at the last look."""
        self._is_moving = False
        """True while a migration to another name is known of."""
        self.unbound = False
        """True while the binding is known not to be there."""
        self._bound_at = 0.0
        """Time when the binding was last declared and no event has come since; 0.0 otherwise."""
        self._heard_at = self._opened_at = time.monotonic()
        self._has_heard = False
        self._usual_pause = SUSPICIOUS_SILENCE
        """Seconds between two arrivals, lately: the mean."""
        self._longest_pause = SUSPICIOUS_SILENCE
        """The longest of them; half of it counts after FORGOTTEN_AFTER."""
        self.depths: Mapping[str, int] = {}
        """Ready messages by queue, as last seen; 0 before the first look."""

    @property
    def consumers(self) -> Mapping[str, int]:
        """Consumers by queue, anybody's, as last seen."""
        return self._questions.consumers if self._questions else {}

    @property
    def asking(self) -> Questions:
        """Requests on the connection that is there."""
        assert self._questions is not None, "connected"
        return self._questions

    def open(self, connection: amqp.Connection) -> None:
        """Declare what is to be there, on a connection just made. Raises what the client raises."""
        self._questions = Questions(connection)
        first = not self._seen
        moved = moving(self.asking, self._topology)
        missing, deleted = missing_queues(self.asking, self._topology)
        self._missing |= missing
        self._seen |= deleted
        if self._declares:
            if self._topology.live_names & missing:
                self._declare(may_be_refused=False)
            else:
                self._look_at_exchange(first=first)
            self._bound_at = 0.0
        gone = {name for name in self._missing if self.asking.depth(name) is None}
        # Without a witness, nobody could tell it from what others do once our queue is declared anew.
        is_explained = moved is Moving.DONE and (self._witnessed or not self._seen & self._missing)
        if is_explained and self._topology.live_names & (self._missing - gone):
            self._notices.moved()
            self._is_moving = True
        else:
            self._notices.missing(sorted(self._missing - gone), self._seen, parking=self._topology.rejected.name)
        made = self._missing - gone - self._seen
        if self._topology.live_names & made and self._topology.doubt:
            notices.tell("queue-declared", self._topology.doubt, subject="ttl", count=0)
        # Without the live one consuming fails, with the remedy.
        self._absent = gone - self._topology.live_names
        self._tell_of_absent()
        for name in self._cancelled - self._missing:
            self._notices.replaced(name)
        self._cancelled, self._missing = set(), set()
        self._seen.update(queue.name for queue in self._topology.queues)
        # Who publishes has to connect again as well: neither the silence until then nor its end proves anything.
        self._has_heard, self._opened_at = False, time.monotonic()

    def look(self) -> None:
        """See to everything again. Raises BrokerUnavailable if a queue is gone, and what the client raises."""
        depths = {queue.name: self.asking.depth(queue.name) for queue in self._topology.queues}
        self.depths = {name: depth for name, depth in depths.items() if depth is not None}
        if missing := [name for name, depth in depths.items() if depth is None and name not in self._absent]:
            raise BrokerUnavailable(f"queue {missing[0]} was deleted while it was in use")
        for name in self._absent.intersection(self.depths):
            self._absent.discard(name)
            self._notices.present(name)
        self._tell_of_absent()
        self._look_at_exchange()
        silent = time.monotonic() - max(self._heard_at, self._opened_at)
        if silent >= self._quiet_after:
            self._notices.standstill(silent)

    def cancelled(self, queue: str) -> None:
        """Take note that the broker has cancelled the consumer of this queue."""
        self._cancelled.add(queue)

    def arrived(self, messages: Sequence[Delivered]) -> None:
        """Take note that messages have arrived; those from overflow say nothing of the binding."""
        if all(message.expired for message in messages):
            return
        now = time.monotonic()
        pause, self._heard_at = now - max(self._heard_at, self._opened_at), now
        bound_at, self._bound_at = self._bound_at, 0.0
        came_at_once = self._has_heard and now - bound_at <= min(max(0.5, self._usual_pause), AT_ONCE)
        self._has_heard = True
        silent = pause >= 1.5 * self._longest_pause
        if bound_at and came_at_once and silent and not self._is_explained(messages):  # bodies last: all come by here
            self._notices.silence(pause)
            pause = self._longest_pause  # one that is explained hides no other
        fading = 0.5 ** (pause / FORGOTTEN_AFTER)
        self._longest_pause = max(SUSPICIOUS_SILENCE, min(pause, self._quiet_after), self._longest_pause * fading)
        self._usual_pause += (min(pause, self._quiet_after) - self._usual_pause) / 20
        if pause >= self._quiet_after:
            self._notices.come_again(pause)

    def _is_explained(self, messages: Sequence[Delivered]) -> bool:
        """Tell whether something else ended a silence: a queue that moves, or a worker that has just started."""
        return self._is_moving or any(b"worker-online" in message.body for message in messages)

    def steered(self, *, receiving: bool) -> None:
        """Take note whether anything can be expected now: not while messages are in hand, or no consumer is on."""
        if not receiving:
            self._heard_at, self._bound_at = time.monotonic(), 0.0

    def drop(self) -> None:
        """Forget the connection, which is gone."""
        self._questions = None
        self._bound_at = 0.0

    def _tell_of_absent(self) -> None:
        for name in self._absent:
            self._notices.absent(name, declares=self._declares)

    # On the broker ------------------------------------------------------------------------------------------------

    def _declare(self, *, may_be_refused: bool, bind: bool = True, witness: bool = True) -> None:
        """Declare everything. Where that is not permitted, go on if the queue that we consume is there all the same.

        A binding or a `witness` that was found there is not declared: what removes it since is for the next look.
        """
        topology = self._topology
        try:
            self.asking.do(lambda channel: declare_exchange(channel, topology.exchange))
            self.differing.as_asked([queue.name for queue in topology.queues if self._declare_queue(queue)])
            if bind:
                self._bind()
        except AccessRefused as exc:
            if not may_be_refused:
                raise
            # Who never might has been told; where it was permitted before, a binding that is gone stays gone.
            every = notices.INTERVAL if self._declared else A_DAY
            notices.tell("rights", f"cannot declare the queues and the binding again: {explain(exc)}", every=every)
            with suppress(AccessRefused):  # to bind takes other rights than to declare
                self._bind()
            return
        notices.over("rights", "the queues and the binding can be declared again")
        self._declared = True
        if witness:
            self._witness()

    def _bind(self) -> None:
        self.asking.do(self._topology.bind)
        self._bound_at, self.unbound = time.monotonic(), False

    def _declare_queue(self, queue: QueueSpec) -> bool:
        """Declare one; return whether it has our arguments. Where it has others the rest is seen to all the same."""
        try:
            self.asking.do(lambda channel: declare_as_asked(channel, queue))
        except (PreconditionFailed, ResourceLocked) as exc:
            # At the start the settings are to be put right; what had been ours, and is ours to consume, is consumed.
            lives = self._topology.lives
            if queue in lives and (queue.name not in self._seen or not isinstance(exc, PreconditionFailed)):
                if isinstance(exc, PreconditionFailed):
                    name_the_type(self.asking.connection, queue, exc)
                raise
            self.differing.found(self.asking.connection, queue, exc)
            if queue in lives and queue.name in self.differing.unusable:
                raise
            return False
        return True

    def _look_at_exchange(self, *, first: bool = False) -> None:
        """See to the exchange and the binding; tell of a gap. `first` of a process."""
        topology = self._topology
        known, answer = self.unbound, self._find_route()
        self.unbound = answer in (Route.UNBOUND, Route.MOVED)
        self._look_at_migration()
        present = self.asking.exists(topology.exchange, "topic")
        if first:
            witnessed, same_queue = witnesses(self.asking, topology)
        else:
            witnessed = not self._witnessed or self.asking.exists(topology.witness, "fanout")
            same_queue = not self._witnessed or self.asking.exists(topology.queue_witness, "fanout")
        lost = not (self._witnessed and witnessed and same_queue)
        if self._declares:
            self._declare(may_be_refused=True, bind=answer is not Route.BOUND or lost, witness=lost)
        if not present:
            remedy = "" if self._declares else f": declare it, `queues declare` does{_NOT_OURS}"
            self._notices.gap(
                f"exchange {topology.exchange!r} is not there, and events published meanwhile are gone{remedy}"
            )
        elif not witnessed and (self._witnessed or not first):  # who may not declare it never had one
            other = ", unless another program than this has declared that queue" if first else ""
            self._notices.gap(
                f"exchange {topology.exchange!r} was deleted and declared anew, which has removed the binding of queue "
                f"{topology.name!r}: events published until now may be gone{other}"
            )
        elif not same_queue and (self._witnessed or not first):
            self._notices.replaced(topology.name)
        elif answer is Route.UNBOUND and not known:
            remedy = f": bind it, `queues declare` does{_NOT_OURS}" if self.unbound else ""
            self._notices.gap(f"the binding had been removed, and what was published without it may be gone{remedy}")
        else:
            return
        self._bound_at = 0.0  # that gap is told of

    def _look_at_migration(self) -> None:
        before, self._is_moving = self._is_moving, moving(self.asking, self._topology) is Moving.BEGUN
        if self._is_moving != before:
            self._notices.moving(is_so=self._is_moving)

    def _witness(self) -> None:
        self._witnessed = self.asking.may(declare_witness, self._topology)
        self.asking.may(declare_mark, self._topology)
