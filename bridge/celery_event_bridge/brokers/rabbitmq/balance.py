"""Even shares of the shards: who has more than its share hands some over. Pure.

RabbitMQ gives a queue with a single active consumer to the first that came, and leaves it there: up to 3.13 for good,
from 4.0 on until one of a higher priority comes. So each replica compares what it has with what would be fair, and lets
go of the rest by going to the end of the line.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

BALANCE_INTERVAL = 1.0
"""Seconds between two looks at the shares."""
LOOKS = 3
"""Looks in a row at which a shard has no consumer, before ours is made anew."""
LAST = -1
"""Priority of who has handed a shard over: whoever has not goes first."""


def fair_share(shards: int, replicas: int) -> int:
    """Return how many shards a replica may have: the next whole number, as not all can have the same."""
    return -(-shards // max(1, replicas))


def priorities(shards: int) -> Sequence[int]:
    """Return a priority for each shard, each another one: so a replica that comes takes over some, and not all."""
    first = secrets.randbelow(shards)
    return [(first + number) % shards for number in range(shards)]


class Balance:
    """Knowledge of one replica about the others."""

    def __init__(self, shards: Sequence[str]) -> None:
        self._shards = list(shards)
        self.priorities = dict(zip(self._shards, priorities(len(self._shards)), strict=True))
        """Priority of our consumer, by shard."""
        self._idle: dict[str, int] = {}
        """Looks in a row at which a shard had no consumer."""

    def surplus(self, active: Sequence[str], replicas: int) -> Sequence[str]:
        """Return which of our `active` shards to hand over, with so many replicas in all."""
        given = active[fair_share(len(self._shards), replicas) :]
        self.priorities.update(dict.fromkeys(given, LAST))
        return given

    def lacking(self, consumers: Mapping[str, int]) -> Sequence[str]:
        """Return the shards that have no consumer, by the number of each: ours is gone, and is to be made anew.

        A queue that was deleted and declared again at once has none of those that stood in line, and nobody is told.
        RabbitMQ counts the active one alone, so that this is seen once there is none.
        """
        idle = [name for name, count in consumers.items() if not count]
        self._idle = {name: self._idle.get(name, 0) + 1 for name in idle}
        gone = [name for name, looks in self._idle.items() if looks >= LOOKS]
        for name in gone:
            del self._idle[name]
        return gone
