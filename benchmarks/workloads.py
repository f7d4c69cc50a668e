"""The messages that wait in the queue: all different, and the same ones for every contender."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle, islice
from typing import Any, NamedTuple

import msgpack

from tests.support import oracle
from tests.support.oracle import Published

JSON, MSGPACK = "application/json", "application/x-msgpack"
IN_A_LIST = 24
"""Events that a worker puts into one message at most."""
SINGLE = 350
"""Bytes of an event: what Celery's own have, about."""
LARGE = 20_000


class Workload(NamedTuple):
    """So many messages of a kind."""

    title: str
    messages: int
    make: Callable[[int], Iterator[Published]]
    tls: bool = False

    def published(self) -> Iterator[Published]:
        """The messages, made one by one: those of a large workload do not fit into memory well."""
        return self.make(self.messages)

    @property
    def events(self) -> int:
        """How many are in all the messages."""
        if self.make is lists:
            return self.messages * IN_A_LIST
        if self.make is mixed:
            return sum(islice(cycle(_sizes()), self.messages))
        return self.messages


def event(number: int, size: int, moment: float) -> bytes:
    """An event as a worker writes it, of about so many bytes; the number makes it unique."""
    start = (
        b'{"hostname": "w%d@test", "utcoffset": 0, "pid": 4711, "clock": %d, "uuid": "%032x", "timestamp": %.7f, '
        b'"type": "task-succeeded", "runtime": 0.0123, "result": "'
    ) % (number % 7, number, number, moment)
    return start + b"x" * (size - len(start) - 2) + b'"}'


def message(body: bytes, number: int, routing_key: str, content_type: str = JSON) -> Published:
    """With the properties that Celery gives it."""
    properties: dict[str, Any] = {
        "content_type": content_type,
        "content_encoding": "utf-8" if content_type == JSON else "binary",
        "delivery_mode": 1,
        "priority": 0,
        "application_headers": {"hostname": f"w{number % 7}@test"},
    }
    return Published(body, properties, routing_key)


def singles(count: int, size: int = SINGLE) -> Iterator[Published]:
    """A message for each event."""
    now = time.time()
    return (message(event(number, size, now), number, "task.succeeded") for number in range(count))


def large(count: int) -> Iterator[Published]:
    """Single events with a long traceback, say."""
    return singles(count, LARGE)


def lists(count: int) -> Iterator[Published]:
    """Lists of 24 events: what a busy worker with the prefork pool sends."""
    now = time.time()
    for number in range(count):
        first = number * IN_A_LIST
        body = b", ".join(event(first + place, SINGLE, now) for place in range(IN_A_LIST))
        yield message(b"[" + body + b"]", number, "task.multi")


def mixed(count: int) -> Iterator[Published]:
    """Messages as real workers sent them, in turn, each event with a clock of its own, so that it is unique."""
    clock = 0
    for original, value in islice(cycle(_readable()), count):
        for one in _events(value):
            clock += 1
            one["clock"] = clock
        packed = original.properties["content_type"] == MSGPACK
        body = msgpack.packb(value) if packed else json.dumps(value).encode()
        yield original._replace(body=body)


@cache
def _readable() -> list[tuple[Published, Any]]:
    """The captured messages and what is in them, without the pickles."""
    return [
        (one, msgpack.unpackb(one.body) if one.properties["content_type"] == MSGPACK else json.loads(one.body))
        for one in oracle.captured()
        if one.properties["content_type"] in (JSON, MSGPACK)
    ]


def _events(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


@cache
def _sizes() -> list[int]:
    """How many events each captured message has."""
    return [len(_events(value)) for _, value in _readable()]
