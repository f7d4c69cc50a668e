"""Evidence on the broker that a bridge was here before: a queue that is missing then was deleted, with what it held.

The memory of a process ends with it, and queues are deleted while no bridge runs as well. What stays is the witness,
which is bound to the event exchange, or one of the other queues. The queues are declared in one order, the witnesses
last; so what is asked for in the reverse order tells a deleted queue from one that a replica beside us is about to
declare.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.questions import Questions
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

DECLARED_WITHIN = 3.0
"""Seconds in which a replica that has declared one queue has declared all."""
WITNESSED_WITHIN = 1.0
"""Seconds in which one that has declared the last queue has declared the witnesses as well."""
PAUSE = 0.1


def missing_queues(
    asking: Questions, topology: Topology, *, declared_within: float = DECLARED_WITHIN
) -> tuple[set[str], set[str]]:
    """Return the names of the queues that are not there, and of those of them that have been.

    Raises what the client raises.
    """
    was_here = any(asking.exists(name, "fanout") for name in (topology.witness, topology.queue_witness))
    missing, deleted = _look(asking, topology)
    if was_here:
        return missing, missing
    deadline = Deadline(declared_within)
    # Some of the first are there, and none of the last: a bridge that starts beside us looks the same for a moment.
    while missing - deleted and len(missing) < len(topology.queues) and not deadline.passed:
        time.sleep(PAUSE)
        missing, deleted = _look(asking, topology)
    return missing, missing if len(missing) < len(topology.queues) else set()


def witnesses(asking: Questions, topology: Topology, *, declared_within: float = WITNESSED_WITHIN) -> tuple[bool, bool]:
    """Return whether those of the exchange and of the live queue are there, or come soon. Raises as the client."""
    deadline = Deadline(declared_within)
    while True:
        found = asking.exists(topology.witness, "fanout"), asking.exists(topology.queue_witness, "fanout")
        if all(found) or deadline.passed:
            return found
        time.sleep(PAUSE)


def _look(asking: Questions, topology: Topology) -> tuple[set[str], set[str]]:
    """Return those that are not there, and those of them that are declared before one that is there."""
    missing: set[str] = set()
    deleted: set[str] = set()
    later_is_there = False
    for queue in reversed(topology.queues):
        if asking.depth(queue.name) is not None:
            later_is_there = True
            continue
        missing.add(queue.name)
        if later_is_there:
            deleted.add(queue.name)
    return missing, deleted
