"""The broker's end: what the relay asks of a source, and what a source hands to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from celery_event_bridge.contract.event import Rejection


class BrokerUnavailable(Exception):
    """The broker cannot be used now: refused, unreachable, lost, or not set up. The text tells the operator why.

    Whatever was received and not acknowledged is the broker's again.
    """

    def __init__(self, text: str = "", code: int = 0) -> None:
        """`code` is the broker's reply code, 0 where it gave none."""
        super().__init__(text)
        self.code = code


class RefusedForGood(BrokerUnavailable):
    """The broker refuses a setting, and will whenever it is asked: a queue that is there with other arguments.

    At the start it ends the process, so that whoever started it sees it; a bridge that has consumed before waits.
    """


class MessageRefused(BrokerUnavailable):
    """A message that was handed over to be parked is refused for good: the broker will never take it, as for its size.

    The relay hands over one at a time then, to find out which it is, and sets that one aside.
    """


class GivenBack(BrokerUnavailable):
    """The messages in hand were too large together, and are the broker's again: to save memory, which is no outage."""


class WouldLoop(Exception):
    """A bridge would get what is published to a target, and so its own events. The text says what to do."""


class Ack(msgspec.Struct, frozen=True):
    """An acknowledgement: of a message, or with `multiple` of all up to it that its lane has delivered."""

    lane: Hashable
    tag: int
    multiple: bool


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message as it was delivered. A plug-in's own subclass holds what it needs beside this, to park it say."""

    lane: Hashable
    """The channel that delivered it: a new object each time a channel is opened, so that it is a generation too."""
    tag: int
    """The number of the delivery, which grows, and means something on that lane alone."""
    body: bytes
    content_type: str
    headers: Mapping[str, Any]
    redelivered: bool = False
    expired: bool = False
    """True if it waited for longer than the broker keeps an event in its first queue, and came by another one."""


class Source(Protocol):
    """The broker's end of the relay. Every method but `drop` may raise BrokerUnavailable; `drop` follows then."""

    @property
    def depths(self) -> Mapping[str, int]:
        """Ready messages by queue, as last seen."""

    @property
    def leaves_after(self) -> float | None:
        """Seconds of age at which a message that is given back leaves its first place; None where it never does."""

    @property
    def held_up(self) -> str | None:
        """Name what keeps events from us though we consume: they wait where we may not, or pass by; None if nothing."""

    def open(self) -> None:
        """Connect and declare the queues; consume nothing yet."""

    def consume(self) -> None:
        """Start to receive."""

    def poll(self, timeout: float) -> Sequence[Message]:
        """Return what has arrived; waits up to `timeout` seconds for the first. Keeps the connection alive."""

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        """Receive less, or more again, by how many bytes are held unacknowledged, and how many by one message alone."""

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Tell the broker that it may forget."""

    def give_back(self, messages: Sequence[Ack]) -> None:
        """Give back single ones, which are then delivered again."""

    def make_room(self, lane: Hashable) -> None:
        """Receive one more beside a message of this lane that stays in hand for long."""

    def let_go(self) -> None:
        """Give back all that is not acknowledged and receive nothing, but stay connected."""

    def cancel(self) -> None:
        """Receive nothing more; what was received may still be acknowledged."""

    def close(self) -> None:
        """Close in order, so that the last acknowledgements count."""

    def drop(self) -> None:
        """Abandon the connection at once. Never raises."""


@runtime_checkable
class InOrder(Protocol):
    """An optional part of a source: one that hands out in an order which is to last as far as the stream."""

    @property
    def ordered(self) -> bool:
        """True if what comes on one lane has to be stored in the order of its tags.

        What is not acknowledged when a lane is closed comes again, in its order, ahead of all that was not handed out.
        """


def is_ordered(source: Source) -> bool:
    """Tell whether what this source hands out has to be stored in its order."""
    return isinstance(source, InOrder) and source.ordered


@runtime_checkable
class StandsBy(Protocol):
    """An optional part of a source: one replica forwards at a time, while the others consume and hand out nothing."""

    @property
    def forwards(self) -> bool:
        """Return whether it is this one. May be asked from another thread."""


class Parcel(msgspec.Struct, frozen=True, eq=False):
    """A message to be parked, and why."""

    message: Message
    why: Rejection


@runtime_checkable
class Urgent(Protocol):
    """An optional part of a source: what is published while it is not connected is lost."""

    @property
    def reconnects_within(self) -> float:
        """Longest pause between two attempts to connect, in seconds."""


def longest_pause(source: Source, usual: float) -> float:
    """Return the longest pause between two attempts to connect, in seconds."""
    return min(usual, source.reconnects_within) if isinstance(source, Urgent) else usual


class Parking(Protocol):
    """A place for messages that can never be forwarded."""

    @property
    def under_way(self) -> Collection[Parcel]:
        """Return those that are published and not confirmed."""

    @property
    def obstacle(self) -> str | None:
        """Return why the broker takes none now, although it is connected; None if it does."""

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Publish those that are not under way, and return those that the broker has confirmed since the last call.

        Never waits for a confirm. Raises BrokerUnavailable, and MessageRefused where the broker will never take one of
        them; then nothing is under way any more, and only what was returned counts.
        """

    def close(self) -> None:
        """Disconnect. Never raises."""
