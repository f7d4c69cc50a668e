"""Messages that are in a queue and not ready, which no look at its depth over AMQP shows. There are two kinds.

- RabbitMQ holds some back for their dead-letter route, and tries that every three minutes.
- Somebody has some in hand, by `basic.get` or of a consumer that was cancelled, and may give them back. A quorum queue
  counts who has them as a consumer, a classic one does not.

The management API counts both, some seconds late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.rabbitmq.arguments import queue_type
from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.waiting import LOOK, Says, Tell, for_what_is_not_ready, may_hold_back
from celery_event_bridge.contract.broker_plugin import QueuesInUse
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.management import Management
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

HELD_BACK_FOR = 190.0
"""Seconds after which a message that waits for its dead-letter route has certainly left: RabbitMQ tries each 180."""
SAMPLED_WITHIN = 15.0
"""Seconds for which the management API has to say that there is none: it samples each five, later under load."""


class Unready:
    """Looks for them in the queues of one bridge that are there, whose names are given."""

    def __init__(
        self,
        connection: amqp.Connection,
        management: Management | None,
        topology: Topology,
        names: Iterable[str],
        *,
        held_back_for: float = HELD_BACK_FOR,
        sampled_within: float = SAMPLED_WITHIN,
    ) -> None:
        """Begin. After `held_back_for` seconds nothing is held back any more, also where nobody can see it."""
        self._connection = connection
        self._management = management
        self._names = tuple(names)
        self._live = topology.live.name
        self._may_hold_back = may_hold_back(topology) and self._live in self._names
        self._held_back_for = held_back_for
        self._unseen = Deadline(held_back_for)
        self._sampled_within = sampled_within
        self._held_back = 0
        self._in_hand: dict[str, int] = {}
        """Messages by queue, as counted at the last look; those with none are left out."""

    @property
    def looking(self) -> str:
        """The line that says what is looked for."""
        return for_what_is_not_ready(seen=self._management is not None)

    def none(self) -> bool:
        """Return whether there are none, for sure; False where one has to look again. Raises QueuesInUse."""
        if not self._may_hold_back and not self._classic:
            return True
        if self._management is None:
            self._refuse_what_nobody_sees()
            return self._unseen.passed
        sampled = Deadline(self._sampled_within)
        while not sampled.passed:
            if not self._counted(self._management):
                if self._unseen.passed:
                    self._refuse_what_nobody_sees()
                return self._unseen.passed
            if self._held_back or self._in_hand:
                return False
            time.sleep(LOOK)
        return True

    def refuse_or_wait(self, tell: Tell, meanwhile: Callable[[], None]) -> None:
        """Wait until there are certainly none. Raises QueuesInUse if there are, and what `meanwhile` raises."""
        if not self._names:
            return
        says = Says(tell)
        if self._may_hold_back or self._classic:
            says.waiting(self.looking)
        sampled = Deadline(self._sampled_within)
        while not self.none():
            # A bridge that was stopped just now may be counted still.
            if self._held_back or (self._in_hand and sampled.passed):
                raise QueuesInUse(f"{self.seen}: or say --force to lose them")
            says.waiting(self.looking)
            meanwhile()
            time.sleep(LOOK)

    @property
    def seen(self) -> str:
        """The messages that the API counts, and what to do; empty if there are none."""
        if self._held_back:
            return (
                f"queue {self._live} holds {self._held_back} messages that wait for their dead-letter route, which "
                "RabbitMQ tries every three minutes: let a bridge drain them"
            )
        if self._in_hand:
            counts = ", ".join(f"{count} of queue {name}" for name, count in self._in_hand.items())
            return (
                f"messages are in somebody's hand, taken and not acknowledged ({counts}): wait until they are given "
                "back, or have the connection closed that holds them"
            )
        return ""

    def _counted(self, management: Management) -> bool:
        """Count anew; False where the API has not counted yet: it knows a queue before it has."""
        self._held_back, self._in_hand = 0, {}
        for name in self._names:
            found = management.queue(name) or {}
            counts = [found.get(key) for key in ("messages", "messages_ready", "messages_unacknowledged")]
            if any(count is None for count in counts):
                return False
            messages, ready, in_hand = map(int, counts)  # type: ignore[arg-type]
            if name == self._live:
                self._held_back = max(0, messages - ready - in_hand)
            if in_hand:
                self._in_hand[name] = in_hand
        return True

    def _refuse_what_nobody_sees(self) -> None:
        if self._classic:
            # What RabbitMQ holds back leaves by itself; --force would lose it.
            when = f" {self._held_back_for:g} s from now, when RabbitMQ holds none back any more" * self._may_hold_back
            raise QueuesInUse(
                f"queue {self._classic[0]} is a classic one, and AMQP does not show whether somebody has messages of "
                "it in hand, taken and not acknowledged: set BRIDGE_MANAGEMENT_URL, which tells; or, if you know that "
                f"nobody has any, `queues remove --force`{when}, with BRIDGE_QUEUE as its bridges had it"
            )

    @cached_property
    def _classic(self) -> Sequence[str]:
        """Names of the queues that count nobody who has messages in hand; what cannot be told is one."""
        with translated():
            return [name for name in self._names if queue_type(self._connection, name) != "quorum"]
