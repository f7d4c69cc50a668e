"""Order of what is stored, by the numbers that `oracle.numbered` gives the events of each worker."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec


class Order(msgspec.Struct):
    """Verdict on a stream."""

    seen: set[int] = msgspec.field(default_factory=set)
    """Numbers of the events that are there."""
    doubled: int = 0
    overtaken: list[str] = msgspec.field(default_factory=list)
    """A line for each event that comes behind a later one of its worker, the first times that both are there."""


def order_of(parts: Iterable[Iterable[bytes]]) -> Order:
    """Look at the bodies of each part of a stream, in which they have an order."""
    order = Order()
    for part in parts:
        latest: dict[str, int] = {}
        for body in part:
            event = json.loads(body)
            host, number = event["hostname"], event["clock"]
            if number in order.seen:
                order.doubled += 1
                continue
            order.seen.add(number)
            if number < latest.get(host, -1):
                order.overtaken.append(f"{host}: {number} behind {latest[host]}")
            else:
                latest[host] = number
    return order
