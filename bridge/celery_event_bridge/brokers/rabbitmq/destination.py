"""Queues that messages are put into: whether these keep what they confirm, as far as it can be known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from amqp.exceptions import AccessRefused, NotFound

from celery_event_bridge.brokers.rabbitmq.arguments import TYPE, Differences, differences, listed
from celery_event_bridge.brokers.rabbitmq.connection import translated
from celery_event_bridge.brokers.rabbitmq.management import harm
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.unready import SAMPLED_WITHIN
from celery_event_bridge.brokers.rabbitmq.waiting import LOOK
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.management import Management
    from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology

COUNTED_WITHIN = 8.0
"""Seconds after which what has expired in a queue is certainly counted in the one behind it."""
AT_ONCE = 1.0
"""Seconds after which a queue certainly counts what it has confirmed: it does so before."""
PAUSE = 0.1


class Destination:
    """Queue that messages are put into; what leaves it by itself is in the queues `beside` it."""

    def __init__(self, connection: amqp.Connection, name: str, beside: Sequence[str] = ()) -> None:
        self._connection = connection
        self.name = name
        self._beside = beside

    def depth(self) -> int:
        """Return the number of messages that are ready in it. Raises what the client raises."""
        return int(self._look(self.name).message_count)

    def count(self) -> int | None:
        """Return how many are in it and beside it; None while somebody consumes them."""
        found = [self._look(name) for name in (self.name, *self._beside)]
        return None if any(each.consumer_count for each in found) else sum(each.message_count for each in found)

    def why_not_kept(self, before: int | None, count: int, *, source: str, moved: str) -> str:
        """Return why `count` messages that it has confirmed are to stay in the source: a policy makes it drop.

        Empty if all are in it, or if nobody can tell as it is consumed. `before` is its count before them; `moved`
        says how many came through earlier.
        """
        counted = Deadline(COUNTED_WITHIN if self._beside else AT_ONCE)
        while before is not None and (after := self.count()) is not None and after < before + count:
            if counted.passed:
                missing = before + count - after
                # The oldest go first.
                return (
                    f"queue {self.name} does not keep what it confirms: {missing} of {before + count} messages "
                    f"are not in it, a policy drops them. {moved} before that, the last "
                    f"{count} are in {source} still, as are all others: {min(missing, before)} are lost. Keep "
                    "our queues out of the policy, by one of a higher priority for them alone, and say the same again"
                )
            time.sleep(PAUSE)
        return ""

    def _look(self, name: str) -> Any:
        channel = self._connection.channel()
        try:
            found = channel.queue_declare(name, passive=True)
        except NotFound as exc:
            raise BrokerUnavailable(f"queue {name} was deleted while messages were moved to it") from exc
        channel.close()
        return found


def why_lost(connection: amqp.Connection, management: Management | None, topology: Topology) -> str:
    """Return why what is put into the live queue would be lost, and the way out; empty if nothing shows that.

    By its arguments and those of the queue that it expires into, and by policies where the API can be asked. Who may
    not declare is shown no arguments over AMQP. Raises BrokerUnavailable.
    """
    queues = topology.consumed
    asking = Questions(connection)
    for queue in queues:
        with translated(f"looking at {queue.name}"):
            depth = asking.depth(queue.name)
        if depth is None:
            return (
                f"there is no queue {queue.name}, which what is sent again has to wait in: declare it with "
                "`celery-event-bridge queues declare`, as `run` does"
            )
        if found := _differences(connection, management, queue):
            return (
                f"queue {queue.name!r} was declared by somebody with other arguments: {listed(found)}; it may lose "
                "what it confirms. Give the settings of the bridge, if those are its own; or delete the queue once it "
                f"is empty, then `queues declare` makes it anew; or move with `queues migrate --from "
                f"{topology.live.name}` and another BRIDGE_QUEUE"
            )
    return why_dropped(management, queues)


def why_dropped(management: Management | None, queues: Iterable[QueueSpec]) -> str:
    """Return which policy makes a queue lose, where the API shows it; else an empty text. Raises BrokerUnavailable."""
    if management is None:
        return ""
    counted = Deadline(SAMPLED_WITHIN)
    for queue in queues:
        # The API knows a queue that was just declared before it knows its policies.
        while "effective_policy_definition" not in (found := management.queue(queue.name) or {}):
            if counted.passed:
                break
            time.sleep(LOOK / 5)
        if text := next(iter(harm(queue, found)), ""):
            return text
    return ""


def _differences(connection: amqp.Connection, management: Management | None, queue: QueueSpec) -> Differences:
    """Return in what it differs from ours; nothing where this user may not declare, and there is no API to ask."""
    with translated(f"looking at {queue.name}"):
        try:
            return differences(connection, queue.name, queue.arguments)
        except AccessRefused:
            pass
    found = (management.queue(queue.name) if management else None) or {}
    if "arguments" not in found:
        return {}
    there = {TYPE: found.get("type", "classic")} | found["arguments"]
    names = sorted({*there, *queue.arguments})
    pairs = {name: (str(there.get(name, "none")), str(queue.arguments.get(name, "none"))) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
