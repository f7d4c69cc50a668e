"""The stream's end: what the relay asks of a sink, and what a sink answers. The order is in the package's text."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from celery_event_bridge.contract.event import Event

if TYPE_CHECKING:
    from pydantic import BaseModel

LOOK_INTERVAL = 10.0
"""Seconds between two looks at what we rely on and others can change: see `Watcher`."""


class Outcome(enum.Enum):
    """Outcome for events that were handed to a sink."""

    STORED = "stored"
    RETRY = "retry"
    REFUSED = "refused"


class Verdict(msgspec.Struct, frozen=True, eq=False):
    """An outcome for a group of events, with the reason where it is not *stored*."""

    outcome: Outcome
    events: Sequence[Event]
    reason: str = ""


class SinkUnavailable(Exception):
    """The stream cannot store, or be read, now and may later: an outage, however long. The text tells why."""


class EventRefused(Exception):
    """The sink will never store this event. The text says why; the message is parked with it."""


class SinkGone(Exception):
    """The sink is gone for good, as a closed pipe is. The process ends with this text."""


class Sink(Protocol):
    """A place where events go. See the module's text for who calls what, when."""

    name: str
    """As in `BRIDGE_SINK`; the label of its metrics."""

    def open(self) -> None:
        """Connect. Raises SinkUnavailable, after which it is called again."""

    def send(self, events: Sequence[Event]) -> None:
        """Take over events, in order. May return before anything is stored; never blocks for long."""

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Return what has been decided since the last call. Waits up to `timeout` seconds while nothing has been."""

    def available(self) -> None:
        """Ask, with nothing in hand, whether events would be stored now. Raises SinkUnavailable if not."""

    def close(self) -> None:
        """Release everything; undecided events are nobody's any more. Never raises."""


class Finding(msgspec.Struct, frozen=True):
    """A line of `check`, which `run` warns of as well."""

    verdict: Literal["ok", "warn", "FAIL"]
    """`FAIL` where events will be lost or cannot be stored, `warn` where they may."""
    text: str
    """Sentence that says what is so, of what, and what to do. Contains no secret."""


@runtime_checkable
class Watcher(Protocol):
    """An optional part of a sink: it looks again at what it relies on and others can change.

    A topic's id, a stream's length, a file's inode: whatever somebody else may have made anew, emptied, moved or set
    otherwise. What is ours is put right, what is not is told of through `notices`, once.
    """

    def look(self) -> None:
        """Look again. Called every LOOK_INTERVAL seconds while the broker is consumed, and blocks for a few at most.

        Raises SinkUnavailable where nothing would be stored now, or not be kept: `/readyz` says so until a later look
        or verdict finds it right. Events that are sent meanwhile get *retry* as their verdict.
        """


@runtime_checkable
class Advisor(Protocol):
    """An optional part of a sink: it knows how its stream could lose what it has confirmed."""

    def advice(self) -> Sequence[Finding]:
        """Return what is to be said of a stream that stores, for `check` and, once, for the log of `run`.

        Called after `open`, and once a minute. Raises SinkUnavailable; blocks for a few seconds at most.
        """


@runtime_checkable
class Previewer(Protocol):
    """An optional part of a sink: it makes what is missing of its stream, and can say so without making it."""

    def preview(self) -> Sequence[Finding]:
        """Return a finding for each part that `run` would make; none where all is there. Changes nothing.

        Called by `check` in place of `open` and `available`. Raises SinkUnavailable where nothing would be stored.
        """


@runtime_checkable
class StartGuard(Protocol):
    """An optional part of a sink: it knows where what it stores would be thrown away: in a container, say."""

    def refusal(self) -> str:
        """Return why nothing should be stored there, and what to do, without a secret; else an empty text.

        Called before `open`: `run` ends with it, as with a wrong setting, and `check` fails.
        """


@runtime_checkable
class Located(Protocol):
    """An optional part of a sink: it can name its stream, so that bridges of one queue know who stores elsewhere."""

    def location(self) -> str:
        """Return a few words for the stream, without a secret: the same from every replica that stores in it.

        Called every LOOK_INTERVAL seconds after `open`, and by `check` on a sink that was not opened. Raises
        SinkUnavailable where nobody can tell now.
        """


@runtime_checkable
class Divided(Protocol):
    """An optional part of a sink of several streams, such as topics: one may store nothing while the others do."""

    troubles: Mapping[str, str]
    """Streams that store nothing now, and why, in a few words without a secret: `/readyz` names them until each stores
    again. Their events are the sink's to wait with, or get *retry*. Where no stream stores, this is an outage of the
    sink, to be told as any other."""


@runtime_checkable
class Retaining(Protocol):
    """An optional part of a sink: its stream removes events by their own time."""

    def kept_for(self) -> float | None:
        """Return after how many seconds, None for never. Called by `replay` after `open`; it warns of older events."""


@runtime_checkable
class OrderedPlugin(Protocol):
    """An optional part of a `SinkPlugin`: it has sinks that keep an order through every failure."""

    def in_order(self, settings: Any) -> Sink:
        """Return a sink whose stream, or each part of it, has the events in the order in which they are handed over.

        An event that it does not store goes back, and with it all that was handed over later: none of these is stored
        before they are handed over again, in the same order. One that it refuses holds up nothing. An event may be
        stored more than once: it is the first time that counts.
        """


class SinkPlugin(Protocol):
    """The object that an entry point of the group `celery_event_bridge.sinks` names: in practice the sink's class."""

    Settings: ClassVar[type[BaseModel]]
    """Its settings: field `url` of the sink `redis` is read from `BRIDGE_REDIS_URL`. A model with
    `extra="allow"` gets every other variable of that prefix as well, its name in lower case; one whose name is in its
    class attribute `ending_in_file` is a path itself, and not one to a file that holds the value; and its class method
    `knows`, where it has one, tells whether there is a setting of such a name. Its class attribute
    `names_stream` lists the fields that say where events go; `run` logs them when it starts. What a field's absence is
    called, where it is not `unset`, and its default, where that is no value, stands in its `json_schema_extra`:
    `{"unset": "never", "default": "the server's"}`."""

    def __call__(self, settings: Any) -> Sink:
        """Return the sink with these settings, an instance of `Settings`; it connects when opened."""
