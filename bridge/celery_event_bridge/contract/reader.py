"""Reading a stream back: records, and what a reader is asked for."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import msgspec

from celery_event_bridge.contract.event import JSON
from celery_event_bridge.contract.sink import SinkUnavailable

if TYPE_CHECKING:
    from pydantic import BaseModel


class Record(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A record as a reader finds it in its stream."""

    partition: Hashable
    """Part of the stream that has an order and a reader of its own. It gets a new value each time it is reassigned."""
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
    """Time when it was stored, in microseconds since 1970 UTC."""
    problem: str | None = None
    """Reason why this is no record of the bridge's, where it is none: it is handed over all the same."""
    broker: str | None = None
    """As in Event: the broker's name, where it has one."""


class Batch(msgspec.Struct, frozen=True, eq=False):
    """Records that a reader has found."""

    records: Sequence[Record] = ()
    """In the order of each partition."""
    seen: Sequence[Record] = ()
    """Some from before the group's position, read back to recognise duplicates of them; not handed out."""
    revoked: Sequence[Hashable] = ()
    """Partitions that are no longer this reader's."""
    skipped: int = 0
    """Records that were gone from the stream before this reader, or its group, came to them, since the last batch: a
    retention or a trim has overtaken it. Where the stream cannot tell how many, at least 1."""


class Reading(msgspec.Struct, frozen=True):
    """Request to a reader."""

    group: str | None = None
    """Readers of one group share the work; its position is kept in the stream. None: no position is kept."""
    since: str | int = "earliest"
    """Position to begin at if there is none yet: `earliest`, `latest`, or microseconds since 1970 UTC."""
    ends: bool = False
    """End where the stream ended when it was opened."""
    read_back: int = 50_000
    """Records before the position to read back, for each partition, where the stream may hold duplicates."""
    lease: float = 30.0
    """Seconds without a sign of life after which a reader of the group counts as dead."""
    newest: int = 0
    """Without a group: begin so many records before the end of each partition, and not at `since`; 0 for `since`. Where
    the stream has gaps there may be fewer."""


class StreamMissing(SinkUnavailable):
    """Stream that is not there: to wait helps only if somebody makes it.

    Raised by `Reader.open`. It ends at once a reader that gives up after some time, and is waited out by others.
    """


class StreamRefused(SinkUnavailable):
    """Stream that lets this user not in, or not read, or that is none: to wait helps only if somebody changes that.

    Raised by any method. It ends at once a reader that gives up after some time and has read nothing, and is waited out
    by others: a password may be renewed under them.
    """


class Reader(Protocol):
    """A stream that is read, from one thread. Each method raises SinkUnavailable and is then called again."""

    def open(self) -> None:
        """Connect. Called again after a failure of any method but `commit`; what was handed out stays so."""

    def fetch(self, limit: int, timeout: float) -> Batch:
        """Return the next records, about `limit` at most; waits up to `timeout` seconds while there are none."""

    def ended(self) -> bool:
        """Return whether, with `Reading.ends`, all that was there at the start has been fetched."""

    def renew_lease(self) -> bool:
        """Renew the lease, each quarter of it while records are handled. Returns False where another reader has it."""

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """Commit these, of all that was fetched: durable on return. By partition, in the order of `fetch`.

        Passes over those that are no longer this reader's, and returns whether there were none of them.
        """

    def close(self) -> None:
        """Release everything; what is not committed goes to the group's next reader. Never raises."""


@runtime_checkable
class KnowsGroups(Protocol):
    """An optional part of a reader, for the audit: it can ask what others' groups have missed."""

    def missed_by_groups(self) -> Mapping[str, int]:
        """Records that were gone before a group came to them, by its name, as far as the stream can tell now.

        Of the period from `Reading.since` on. Raises SinkUnavailable.
        """


@runtime_checkable
class LooksBack(Protocol):
    """An optional part of a reader: it can look at what was stored before the place where it began."""

    def before(self, types: Collection[str]) -> Iterator[Sequence[Record]]:
        """Yield the records of these types, the newest first, from where this reader began backwards; a step is short,
        and may be empty. A reader of a group has none.

        Called between two fetches, and seldom to its end. Raises SinkUnavailable.
        """


@runtime_checkable
class Identified(Protocol):
    """An optional part of a reader's plug-in: it can tell whether two addresses lead to the same stream."""

    @staticmethod
    def identity(settings: Any) -> Set[Hashable]:
        """Return a set that two addresses of one stream, or of a part of it, have something of in common.

        Asks the server where need be. Raises SinkUnavailable.
        """


class ReaderPlugin(Protocol):
    """The object that an entry point of the group `celery_event_bridge.readers` names, by the scheme of its URLs."""

    sink: ClassVar[str]
    """The sink whose stream it reads: `redis`, whose settings are `BRIDGE_REDIS_*`."""
    Settings: ClassVar[type[BaseModel]]

    @staticmethod
    def from_url(url: str, settings: Any) -> Mapping[str, str]:
        """Return the settings that a URL gives, by field. Raises ValueError with a text that says what is expected."""

    def __call__(self, settings: Any, reading: Reading) -> Reader:
        """Return the reader with these settings, an instance of `Settings`; it connects when opened."""
