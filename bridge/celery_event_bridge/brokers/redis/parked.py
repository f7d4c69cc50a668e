"""The list of parked messages as a person handles it: look at what was parked, and why; send it again; throw it away.

What is sent again goes to the bridges alone, on a channel of their own, and leaves the list once the one that forwards
says that all up to there is confirmed: who sends listens as a replica does, and so knows the place in the order.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.parked_message import ParkedMessage, id_of, readable_in
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.link import Link, connected_link
from celery_event_bridge.brokers.redis.parking import ParkedEntry
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import Content, Parked
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

SNAPSHOT = """
local digests = {}
for at = 0, redis.call('LLEN', KEYS[1]) - 1, 1000 do
  for _, element in ipairs(redis.call('LRANGE', KEYS[1], at, at + 999)) do
    digests[#digests + 1] = redis.sha1hex(element)
  end
end
return table.concat(digests)
"""
"""KEYS: the list. Returns what is in it at one moment, as digests of DIGEST hex digits."""
DIGEST = 40
PAGE = 100
"""Elements that are read at a time, or are on their way again."""
PATIENCE = 30.0
"""Seconds for the one that forwards to confirm what was sent again."""


class ParkedList:
    """Return what is in the list; nothing is taken out of it but by `requeue` and `purge`."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._link = link
        self._names = settings.names

    def contents(self) -> Iterator[Content]:
        """Yield each message once, oldest first. Raises BrokerUnavailable."""
        for element in self._elements():
            yield _content(element)

    def requeue(self, wanted: Callable[[Parked], bool]) -> int:
        """Send messages to the bridges again, and take out those that the stream has. Returns how many.

        Raises BrokerUnavailable; then what is not known to be stored is still in the list.
        """
        chosen = [element for element in self._elements() if wanted(_content(element).parked)]
        sent = 0
        if not chosen:
            return 0
        self._refuse_without_a_bridge(len(chosen))
        sending = _Sending(self._settings)
        try:
            for start in range(0, len(chosen), PAGE):
                page = chosen[start : start + PAGE]
                sending.send(page)
                sent += self._remove(page)
        finally:
            sending.close()
        return sent

    def purge(self, wanted: Callable[[Parked], bool]) -> int:
        """Throw messages away. Returns how many. Raises BrokerUnavailable."""
        return self._remove([element for element in self._elements() if wanted(_content(element).parked)])

    def in_hand(self) -> str:
        """Return an empty line: a list has nobody who holds a message."""
        return ""

    def _refuse_without_a_bridge(self, count: int) -> None:
        """Raise BrokerUnavailable where no bridge is there to hear what is sent, as far as this user may ask."""
        reply = self._link.ask("PUBSUB", "NUMSUB", self._names.control)
        if isinstance(reply, list) and 0 in reply:
            raise BrokerUnavailable(
                f"no bridge is subscribed to Redis at {self._link.where}, and {counted(count, 'message')} would reach "
                "nobody: start one with these settings, then say the same again. They are still in the list"
            )

    def _remove(self, elements: list[bytes]) -> int:
        """Remove as many of each as are given: of two that are alike, which one is the same."""
        counted_by = Counter(elements)
        removed = sum(int(self._ask("LREM", self._names.rejected, *each[::-1])) for each in counted_by.items())
        if removed:
            self._ask("DEL", self._names.size)  # counted anew by who parks next
        return removed

    def _elements(self) -> Iterator[bytes]:
        """Yield those that are there now, by pages: each once, also of several that are alike.

        What is parked meanwhile is passed over. Who takes some out meanwhile moves the others, so that a page leaves
        some out: as long as some have not been seen, and more are found, it is looked through again.
        """
        digests = bytes(self._ask("EVAL", SNAPSHOT, 1, self._names.rejected))
        left = Counter(digests[at : at + DIGEST] for at in range(0, len(digests), DIGEST))
        found = True
        while left and found:
            start, found = 0, False
            while left and (page := self._ask("LRANGE", self._names.rejected, start, start + PAGE - 1)):
                for element in page:
                    digest = hashlib.sha1(element, usedforsecurity=False).hexdigest().encode()
                    if digest in left:
                        left[digest] -= 1
                        if not left[digest]:
                            del left[digest]
                        found = True
                        yield element
                start += len(page)

    def _ask(self, *command: str | bytes | int) -> Any:
        reply = self._link.ask(*command)
        if isinstance(reply, Exception):
            raise BrokerUnavailable(f"Redis at {self._link.where}, list {self._names.rejected.decode()}: {reply}")
        return reply


class _Sending:
    """A subscriber that sends to the bridges and hears what they confirm."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = settings.names
        self._owner = uuid.uuid4().hex
        self._link = connected_link(settings, role="requeue")
        self._window = Window(2**62, time.monotonic())
        self._marks = 0
        try:
            self._link.subscribe(self._names.patterns, (self._names.control, self._names.again), self._window.hear)
        except BaseException:
            self._link.close()
            raise

    def send(self, elements: list[bytes]) -> None:
        """Send these, and wait until they are confirmed. Raises BrokerUnavailable where they are not."""
        self._say_mark()  # a place before them, from which events are counted
        for element in elements:
            self._link.send("PUBLISH", self._names.again, _as_it_was(element, self._settings.event_exchange))
        last = self._say_mark()
        deadline = Deadline(PATIENCE)
        while not self._window.is_past(last):
            if deadline.passed:
                raise BrokerUnavailable(
                    f"no bridge has confirmed {counted(len(elements), 'message')} within {PATIENCE:g} s: does one run "
                    "with these settings, and is its sink there? They are still in the list"
                )
            for reply in self._link.read(0.1, self._window.hear, self._heard):
                if isinstance(reply, Exception):
                    raise BrokerUnavailable(f"Redis at {self._link.where}: {reply}")

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._link.close()

    def _say_mark(self) -> str:
        self._marks += 1
        name = f"{self._owner[:12]}.{self._marks}"
        self._link.send("PUBLISH", self._names.control, msgspec.json.encode(Control(name, self._owner, 0, None)))
        return name

    def _heard(self, item: list[Any]) -> None:
        if item[0] != b"message":
            return
        if item[1] == self._names.again:
            self._window.hear(item[2])
        elif (message := Control.read(item[2])) is not None:
            self._window.mark(message.mark, time.monotonic())
            if message.token:
                self._window.confirmed_elsewhere(message.position, message.silences)
            if self._window.aside.events:
                raise BrokerUnavailable(
                    "the bridge that forwards has not heard what was sent: it was cut off. The messages are still in "
                    "the list"
                )


@contextmanager
def parked_messages(settings: Settings) -> Iterator[ParkedList]:
    """Yield the list at the first server that answers. Raises BrokerUnavailable."""
    link = connected_link(settings, role="rejected")
    try:
        yield ParkedList(settings, link)
    finally:
        link.close()


def _entry(element: bytes) -> ParkedEntry:
    try:
        entry = msgspec.json.decode(element, type=ParkedEntry)
        base64.b64decode(entry.body)
        return entry
    except (ValueError, RecursionError):  # somebody else's
        body = base64.b64encode(element).decode()
        return ParkedEntry("", "", "not written by a bridge", "", {}, body, raw=True)


def _body(entry: ParkedEntry) -> bytes:
    return base64.b64decode(entry.body)


def _content(element: bytes) -> Content:
    entry = _entry(element)
    body = _body(entry)
    types, hostname = readable_in(body, entry.content_type, entry.headers)
    parked = ParkedMessage(
        id=id_of(element),
        parked_at=entry.parked_at,
        reason=entry.reason,
        error=entry.error,
        routing_key=entry.routing_key,
        content_type=entry.content_type,
        size=len(body),
        events=types,
        hostname=hostname,
    )
    return Content(parked, {"content_type": entry.content_type}, entry.headers, body)


def _as_it_was(element: bytes, exchange: str) -> bytes:
    entry = _entry(element)
    if entry.raw:
        return _body(entry)
    return sealed(_body(entry), entry.content_type, entry.headers, exchange, entry.routing_key)
