"""What the author of a sink needs to know, all of it: events, verdicts, and the life of a sink. Readers are at the end.

The relay calls a sink from one thread, in this order::

    open() -> (send(events) | verdicts(timeout) | available())* -> close()

Every event handed over by `send` gets exactly one verdict, some time later, from `verdicts`: *stored*
(durable, as far as this sink's settings promise it), *retry* (not stored, or nobody can tell; the relay
hands it over again after a pause) or *refused* (never, however often it is tried; the relay parks the
message it came in). An event is never handed over again before its verdict. Only *stored* lets go of the
event at the broker, so a sink that says it too early loses events. A sink whose client goes on trying by itself
tells of an outage with *retry* on no event at all.

An error class exists here only where the relay acts differently on it. Anything else that a sink raises is
taken for a bug: the process ends, and the broker hands what it held to a replica.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

if TYPE_CHECKING:
    from pydantic import BaseModel

JSON = "application/json"
MSGPACK = "application/x-msgpack"


class Event(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """One event as its publisher sent it. Compared by identity: two deliveries of one event are two of these."""

    id: str
    """BLAKE2b-128 of the verbatim bytes, 32 hex digits: the same on every redelivery, from every replica."""
    type: str
    """`task-succeeded`, `worker-heartbeat`, or whatever a custom event calls itself."""
    source: str
    """Host name of the worker or client that sent it; `unknown` if nothing says."""
    subject: str | None
    """The task's uuid."""
    key: str
    """What keeps a task's events together: the uuid, else the source."""
    time: int | None
    """When it happened, by its sender's clock, in microseconds since 1970 UTC; None if absent or absurd."""
    data: bytes
    """The verbatim bytes."""
    content_type: str = JSON
    """`application/json` or `application/x-msgpack`."""


class Outcome(enum.Enum):
    """What has become of events that were handed to a sink."""

    STORED = "stored"
    RETRY = "retry"
    REFUSED = "refused"


class Verdict(msgspec.Struct, frozen=True, eq=False):
    """One outcome for a group of events, with the reason where it is not *stored*."""

    outcome: Outcome
    events: Sequence[Event]
    reason: str = ""


class Rejection(msgspec.Struct, frozen=True):
    """Why a message, or an event in it, can never be forwarded. Not for sinks, which raise EventRefused."""

    reason: str
    """A word: `content-type`, `compression`, `too-large`, `undecodable`, `empty`, `not-an-event` or `refused`."""
    error: str
    """A sentence for a person."""


class SinkUnavailable(Exception):
    """The stream cannot store, or be read, now and may later: an outage, however long. The text tells why."""


class EventRefused(Exception):
    """The sink will never store this event. The text says why; the message is parked with it."""


class SinkGone(Exception):
    """The sink is gone for good, as a closed pipe is. The process ends with this text."""


class Sink(Protocol):
    """Where events go. See the module's text for who calls what, when."""

    name: str
    """As in `BRIDGE_SINK`; the label of its metrics."""

    def open(self) -> None:
        """Connect. Raises SinkUnavailable, after which it is called again."""

    def send(self, events: Sequence[Event]) -> None:
        """Take over events, in order. May return before anything is stored; never blocks for long."""

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """What has been decided since the last call. Waits up to `timeout` seconds while nothing has been."""

    def available(self) -> None:
        """Ask, with nothing in hand, whether events would be stored now. Raises SinkUnavailable if not."""

    def close(self) -> None:
        """Release everything; undecided events are nobody's any more. Never raises."""


class SinkPlugin(Protocol):
    """What an entry point of the group `celery_event_bridge.sinks` names: in practice the sink's class."""

    Settings: ClassVar[type[BaseModel]]
    """Its settings: field `url` of the sink `redis` is read from `BRIDGE_REDIS_URL`. A model with
    `extra="allow"` gets every other variable of that prefix as well, its name in lower case; one whose name is in its
    class attribute `ending_in_file` is a path itself, and not one to a file that holds the value."""

    def __call__(self, settings: Any) -> Sink:
        """The sink with these settings, an instance of `Settings`; it connects when opened."""


class BlockingSink:
    """A sink for a client that simply blocks: write `store`, and `open`, `available` and `close` if need be.

    `send` queues; each call of `verdicts` stores one batch, so that the relay can see to its connection
    between two batches. After a failure the whole queue is given back, so that order holds.
    """

    name = "blocking"
    batch_events = 2000
    """Events stored at a time at most."""
    batch_bytes = 4 * 1024 * 1024
    """Bytes of event data stored at a time at most; one larger event goes alone."""

    def __init__(self) -> None:
        self._queue: deque[Event] = deque()

    def store(self, events: Sequence[Event]) -> None:
        """Store all of `events`, durably, within a few seconds.

        Raises SinkUnavailable if it cannot now, EventRefused if one of them can never be stored. After
        either, any of them may have been stored: they are handed over again.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to store")

    def open(self) -> None:
        """Nothing to connect unless overridden."""

    def available(self) -> None:
        """Always, unless overridden."""

    def close(self) -> None:
        """Forget what was queued. Call it when overriding."""
        self._queue.clear()

    def send(self, events: Sequence[Event]) -> None:
        """Queue the events."""
        self._queue.extend(events)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:  # noqa: ARG002 - it never waits for nothing
        """Store one batch of what is queued."""
        batch = self._next_batch()
        return self.decide(batch) if batch else ()

    def decide(self, batch: Sequence[Event]) -> Sequence[Verdict]:
        """Store a batch and say what has become of each event; after a refusal, one by one."""
        try:
            self.store(batch)
        except SinkUnavailable as exc:
            return (self.give_back(batch, str(exc)),)
        except EventRefused as exc:
            if len(batch) == 1:
                return (Verdict(Outcome.REFUSED, batch, str(exc)),)
            return self._decide_singly(batch)
        return (Verdict(Outcome.STORED, batch),)

    def give_back(self, undecided: Sequence[Event], reason: str) -> Verdict:
        """A verdict that returns these events and all that is queued behind them."""
        events = [*undecided, *self._queue]
        self._queue.clear()
        return Verdict(Outcome.RETRY, events, reason)

    def _decide_singly(self, batch: Sequence[Event]) -> Sequence[Verdict]:
        verdicts: list[Verdict] = []
        for position, event in enumerate(batch):
            try:
                self.store((event,))
            except SinkUnavailable as exc:
                verdicts.append(self.give_back(batch[position:], str(exc)))
                break
            except EventRefused as exc:
                verdicts.append(Verdict(Outcome.REFUSED, (event,), str(exc)))
            else:
                verdicts.append(Verdict(Outcome.STORED, (event,)))
        return verdicts

    def _next_batch(self) -> list[Event]:
        queue = self._queue
        if len(queue) <= self.batch_events and sum([len(event.data) for event in queue]) <= self.batch_bytes:
            batch = list(queue)
            queue.clear()
            return batch
        batch, size = [], 0
        while queue and len(batch) < self.batch_events:
            size += len(queue[0].data)
            if batch and size > self.batch_bytes:
                break
            batch.append(queue.popleft())
        return batch


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One record as a reader finds it in its stream."""

    partition: Hashable
    """What has an order and a reader of its own. One that is lost and had again has another value."""
    position: Any
    """Its place there; of two places the later one is greater."""
    id: str
    type: str
    source: str
    subject: str | None
    time: int | None
    """As in Event: microseconds since 1970 UTC."""
    data: bytes
    content_type: str = JSON
    stored: int | None = None
    """When it was stored, in microseconds since 1970 UTC."""
    problem: str | None = None
    """Why this is no record of the bridge's, where it is none: it is handed over all the same."""


class Batch(msgspec.Struct, frozen=True, eq=False):
    """What a reader has found."""

    records: Sequence[Record] = ()
    """In the order of each partition."""
    seen: Sequence[Record] = ()
    """Some from before the group's position, read back to recognise duplicates of them; not handed out."""
    revoked: Sequence[Hashable] = ()
    """Partitions that are no longer this reader's."""


class Reading(msgspec.Struct, frozen=True):
    """What a reader is asked for."""

    group: str | None = None
    """Readers of one group share the work; its position is kept in the stream. None: no position is kept."""
    since: str | int = "earliest"
    """Where to begin if there is no position yet: `earliest`, `latest`, or microseconds since 1970 UTC."""
    ends: bool = False
    """End where the stream ended when it was opened."""
    read_back: int = 50_000
    """Records before the position to read back, for each partition, where the stream may hold duplicates."""
    lease: float = 30.0
    """Seconds without a sign of life after which a reader of the group counts as dead."""


class Reader(Protocol):
    """How a stream is read; from one thread. Each method raises SinkUnavailable and is then called again."""

    def open(self) -> None:
        """Connect. Called again after a failure of any method but `commit`; what was handed out stays so."""

    def fetch(self, limit: int, timeout: float) -> Batch:
        """The next records, about `limit` at most; waits up to `timeout` seconds while there are none."""

    def ended(self) -> bool:
        """Whether, with `Reading.ends`, all that was there at the start has been fetched."""

    def alive(self) -> bool:
        """A sign of life, every quarter of the lease while what was fetched is handled; False: it is another's now."""

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """These, of all that was fetched, are handled: durable on return. By partition, in the order of `fetch`.

        Passes over those that are no longer this reader's, and returns whether there were none of them.
        """

    def close(self) -> None:
        """Release everything; what is not committed goes to the group's next reader. Never raises."""


class ReaderPlugin(Protocol):
    """What an entry point of the group `celery_event_bridge.readers` names, by the scheme of its URLs."""

    sink: ClassVar[str]
    """The sink whose stream it reads: `redis`, whose settings are `BRIDGE_REDIS_*`."""
    Settings: ClassVar[type[BaseModel]]

    @staticmethod
    def from_url(url: str, settings: Any) -> Mapping[str, str]:
        """The settings that a URL gives, by field, instead of those. Raises ValueError that says what is expected."""

    def __call__(self, settings: Any, reading: Reading) -> Reader:
        """The reader with these settings, an instance of `Settings`; it connects when opened."""
