"""Intake of a message: those of its events that are wanted, and the memory they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

import msgspec

from celery_event_bridge.contract import Event, Rejection
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.contract.budget import footprint
from celery_event_bridge.forward.compression import NotDecompressed, decompress
from celery_event_bridge.forward.decode import Decoded, decode

TYPES = 1024
"""Types that are remembered; a publisher can invent any number."""


class Taken(msgspec.Struct, frozen=True, gc=False):
    """Events that are taken in hand of one message."""

    events: Sequence[Event]
    """Events to forward, in order."""
    size: int
    """Bytes of memory, about."""
    rejection: Rejection | None = None
    """Reason why the message has to be parked once its events are stored."""
    unwanted: Sequence[str] = ()
    """The types of its events that are not forwarded."""


class Intake:
    """Decodes and filters by `BRIDGE_EVENT_TYPES` and `BRIDGE_MAX_MESSAGE_BYTES`, and names `BRIDGE_BROKER_NAME`."""

    def __init__(self, event_types: Sequence[str], max_message_bytes: int, broker: str | None = None) -> None:
        self._wanted = None if tuple(event_types) == ("*",) else event_filter(event_types)
        self._limit = max_message_bytes
        self._broker = broker

    def take(self, message: Message) -> Taken:
        """Take in a message. Never raises: what cannot be decoded has a rejection."""
        body, headers = message.body, message.headers
        if len(body) <= self._limit and "compression" not in headers:
            decoded = decode(body, message.content_type, headers, self._broker)
        else:
            decoded = self._decode_with_care(message)
        events = decoded.events
        unwanted: Sequence[str] = ()
        if self._wanted is not None:
            unwanted = [event.type for event in events if not self._wanted(event.type)]
            events = [event for event in events if self._wanted(event.type)]
        return Taken(events, footprint(body, events), decoded.rejection, unwanted)

    def _decode_with_care(self, message: Message) -> Decoded:
        body, limit, headers = message.body, self._limit, message.headers
        if len(body) > limit:
            return Decoded([], Rejection("too-large", f"{len(body)} bytes, over BRIDGE_MAX_MESSAGE_BYTES={limit}"))
        if method := headers.get("compression"):
            try:
                body = decompress(body, method, limit)
            except NotDecompressed as exc:
                return Decoded([], Rejection(exc.reason, str(exc)))
        return decode(body, message.content_type, headers, self._broker)


def patterns_in(given: str | Iterable[str] | None) -> list[str]:
    """`task-*, !task-received`, or several such texts, to the patterns in them; none means all to `event_filter`."""
    texts = [given] if isinstance(given, str) else given or ()
    return [pattern for text in texts for word in text.split(",") if (pattern := word.strip())]


def event_filter(patterns: Sequence[str], came: set[str] | None = None) -> Callable[[str], bool]:
    """Return a test of whether an event type is to be forwarded. `!` excludes; exclusions alone mean all the others.

    A `+` before a name says that it is a custom event's: see config/event_types.py. The types that it was asked for are
    added to `came`.
    """
    includes = [pattern.removeprefix("+") for pattern in patterns if not pattern.startswith("!")] or ["*"]
    excludes = [pattern[1:].removeprefix("+") for pattern in patterns if pattern.startswith("!")]

    @lru_cache(maxsize=TYPES)
    def wanted(event_type: str) -> bool:
        if came is not None and len(came) < TYPES:
            came.add(event_type)
        return any(fnmatchcase(event_type, pattern) for pattern in includes) and not any(
            fnmatchcase(event_type, pattern) for pattern in excludes
        )

    return wanted
