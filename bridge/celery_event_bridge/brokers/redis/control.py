"""Messages between replicas. Each is a mark in the order of the events, too."""

from __future__ import annotations

import msgspec

from celery_event_bridge.brokers.redis.silences import Position, Silence


class Control(msgspec.Struct, array_like=True, frozen=True):
    """Word of a replica on itself."""

    mark: str
    """Name of this message."""
    owner: str
    token: int
    """0 of who stands by."""
    position: Position | None
    """Place up to which all is confirmed, of who forwards."""
    released: bool = False
    """True if the lease is free from now on."""
    silences: tuple[Silence, ...] = ()
    """Times in which it has heard nothing, of the last minute."""
    aside: int = 0
    """Events that it has and who forwards had not heard: it asks for its turn to publish them again."""
    age: float | None = None
    """Seconds for which something has not been confirmed: silences before are told of. None of an older version."""
    gaps: tuple[tuple[float, float], ...] = ()
    """Times in which it has heard nothing, of which it does not know that somebody has, or has told, in seconds before
    the word was sent."""
    told: tuple[tuple[float, float], ...] = ()
    """Times that were told of as gaps, likewise."""
    types: str | None = None
    """Patterns of its BRIDGE_EVENT_TYPES, empty for all; None of who forwards nothing, or of an earlier version."""
    name: str | None = None
    """Its BRIDGE_BROKER_NAME, empty for none; None as above."""
    holds_on: bool = False
    """True of who forwards while the server takes no writes, and so no renewal."""
    apart: tuple[tuple[float, float], ...] = ()
    """Parts of `gaps` in which it was at another server than this one, behind a partition."""

    @classmethod
    def read(cls, data: bytes) -> Control | None:
        """Return the message; None where it is somebody else's."""
        try:
            return msgspec.json.decode(data, type=cls)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, and that of text which is no UTF-8
            return None
