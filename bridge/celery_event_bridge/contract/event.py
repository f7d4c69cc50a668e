"""An event, and why one is never forwarded."""

from __future__ import annotations

import msgspec

JSON = "application/json"
MSGPACK = "application/x-msgpack"
REASONS = ("content-type", "compression", "too-large", "undecodable", "empty", "not-an-event", "refused")
"""Words for why a message is parked. Each is counted from the start, at 0."""


class Event(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An event as its publisher sent it. Compared by identity: two deliveries of one event are two of these."""

    id: str
    """BLAKE2b-128 of the verbatim bytes, 32 hex digits: the same on every redelivery, from every replica."""
    type: str
    """`task-succeeded`, `worker-heartbeat`, or whatever a custom event calls itself."""
    source: str
    """Host name of the worker or client that sent it; `unknown` if nothing says."""
    subject: str | None
    """The task's uuid."""
    key: str
    """Key that keeps a task's events together: the uuid, else the source."""
    time: int | None
    """Time when it happened, by its sender's clock, in microseconds since 1970 UTC; None if absent or absurd."""
    data: bytes
    """The verbatim bytes."""
    content_type: str = JSON
    """`application/json` or `application/x-msgpack`."""
    broker: str | None = None
    """Name of the broker that it was taken off, `BRIDGE_BROKER_NAME`; None where that has none. No part of the id."""


class Rejection(msgspec.Struct, frozen=True):
    """A reason why a message, or an event in it, can never be forwarded. Not for sinks, which raise EventRefused."""

    reason: str
    """A word of REASONS."""
    error: str
    """A sentence for a person."""
