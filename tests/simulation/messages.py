"""Messages as workers publish them, and what has to become of each by the contract. Uses none of the bridge's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.simulation.scheduler import World

JSON = "application/json"
HOSTS, TASKS = 5, 50
POISON = "poison"
"""Key of an event that no stream will ever take."""
TIMES: Sequence[object] = (
    1_700_000_000.5, float("nan"), float("inf"), -1.0, 1e300, "noon", None, True, 10**400
)  # fmt: skip
"""Timestamps that an event may have: whatever it is, the event is stored as it was sent."""
JUNK: Sequence[bytes] = (b"", b"{", b'"text"', b'[{"type":1}]', b"\xff\xfe", b"[]")


class Published(NamedTuple):
    """One message, and its due."""

    number: int
    body: bytes
    content_type: str
    headers: Mapping[str, str]
    events: Sequence[str]
    """Ids of the events in it that have to be stored, or the message parked."""
    poisoned: Sequence[str]
    """Ids of those that no stream takes: for them the message has to be parked."""
    junk: bool
    """True if nothing in it can be read, so that it has to be parked."""


def identity(data: bytes) -> str:
    """Return an event's id by the contract: BLAKE2b-128 of its bytes, in hex."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def message(world: World, number: int, refuses: Callable[[bytes], bool], too_large: int) -> Published:
    """Draw a message: a list as prefork workers send it, a single event, now and then a large one or no event.

    `refuses` tells of an event whether the stream will never take it; past `too_large` bytes a message is parked.
    """
    draw = world.random.random()
    if draw < 0.03:
        return unreadable(world, number, too_large)
    if draw < 0.5:
        events = [_event(world, number, 0, too_large)]
        body = events[0]
    else:
        events = [_event(world, number, place, too_large) for place in range(1 + int(world.random.random() * 8))]
        body = b"[" + b", ".join(events) + b"]"
    ids = [identity(event) for event in events]
    poisoned = [one for one, event in zip(ids, events, strict=True) if refuses(event)]
    host = f"w{number % HOSTS}@host"
    if len(body) > too_large:
        ids, poisoned = [], []
    return Published(number, body, JSON, {"hostname": host}, ids, poisoned, junk=not ids)


def unreadable(world: World, number: int, too_large: int) -> Published:
    """Draw a message that can only be parked: no event, or more than is read."""
    junk = b"x" * (too_large + 1) if world.chance(0.3) else JUNK[number % len(JUNK)]
    return Published(number, junk, JSON, {}, (), (), junk=True)


def _event(world: World, number: int, place: int, too_large: int) -> bytes:
    event = {
        "type": "task-started",
        "uuid": f"{int(world.random.random() * TASKS):032x}",
        "hostname": f"w{number % HOSTS}@host",
        "clock": number,
        "place": place,
    }
    draw = world.random.random()
    if world.chance(0.03):
        event["timestamp"] = TIMES[int(world.random.random() * len(TIMES))]
    if draw < 0.005:
        event[POISON] = True
    elif draw < 0.03:
        event["result"] = "x" * (too_large * 3 // 8)
    return json.dumps(event).encode()
