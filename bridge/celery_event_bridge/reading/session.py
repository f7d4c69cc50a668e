"""The events of a stream one by one: duplicates dropped, types picked, outages waited out, what is committed counted.

What the streams do differently, a `Reader` does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from celery_event_bridge.contract import (
    Batch,
    KnowsGroups,
    LooksBack,
    Reader,
    Reading,
    Record,
    SinkUnavailable,
    notices,
)
from celery_event_bridge.process.signals import stopping
from celery_event_bridge.reading import gone
from celery_event_bridge.reading.attempts import Attempts
from celery_event_bridge.reading.batch_size import BatchSize
from celery_event_bridge.reading.duplicates import SeenIds
from celery_event_bridge.reading.event import Clock, StoredEvent
from celery_event_bridge.reading.fork import OneProcess
from celery_event_bridge.reading.picked import Picked
from celery_event_bridge.reading.soon import Soon
from celery_event_bridge.reading.uncommitted import Owed

log = logging.getLogger("celery_event_bridge.reader")

PATIENCE = 0.5
"""Seconds that one fetch waits, and so the time within which `stop` is noticed."""
SWEEP_INTERVAL = 1.0
"""Seconds between two commits of what was dropped only."""
NO_GROUP = "commit: there is no position without a group: open_reader(..., group='name')"
LONGEST_PAUSE = 5.0
"""Seconds between two attempts in an outage, at most."""


class Events:
    """An iterator of events, from one thread; `stop` may be called from anywhere. A context manager that closes."""

    def __init__(
        self,
        reader: Reader,
        reading: Reading,
        picked: Picked | None = None,
        *,
        give_up_after: float | None = None,
        idle: Callable[[], None] | None = None,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self._reader = reader
        self._reading = reading
        self._picked = Picked() if picked is None else picked
        self._wanted, self._broker = self._picked.wanted, self._picked.broker
        self.idle = idle
        """Called whenever there is nothing to read."""
        self.skipped = 0
        """Records that were gone before this reader, or its group, came to them, as far as the stream can tell."""
        self.seen = SeenIds(reading.read_back, self._broker)
        """Ids that came before. Who picks by broker himself assigns `seen.among`."""
        self._clock = Clock()
        self._owed = Owed()
        self._records: Sequence[Record] = ()
        self._at = 0
        self._first = 0
        """The number of the first of `_records`."""
        self._handed = -1
        self._committed_until = -1
        self._size = BatchSize()
        self._fetched_at = self._lived_at = self._swept_at = time.monotonic()
        self._stopping = threading.Event()
        self._attempt = Attempts(self._stopping, longest_pause, give_up_after)
        self._soon = Soon()
        self._closed = False
        self._process = OneProcess(reader, self._forget_fetched)
        try:
            self._opened = self._attempt(reader.open)
        except SinkUnavailable:
            reader.close()
            raise

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> StoredEvent:
        while True:
            while self._at < len(self._records):
                position = self._at
                self._at += 1
                record = self._records[position]
                if record.problem is None and self.seen.register(record):
                    continue
                named = self._broker is None or self._broker(record.broker)
                if record.problem is not None or (named and self._wanted(record.type)):
                    if not self._still_ours():
                        break
                    self._handed = self._first + position
                    return StoredEvent(record, self._handed, self._clock)
            self._process.refuse_a_copy()
            if self._stopping.is_set() or self._closed:
                raise StopIteration
            if self._opened and self._reader.ended():
                self._sweep(interval=0.0)
                self._picked.look()
                raise StopIteration
            self._fetch()

    @property
    def stopped(self) -> bool:
        """Return whether `stop` or `close` was called."""
        return self._stopping.is_set()

    @property
    def reason(self) -> str | None:
        """Return why the stream is away, while it is."""
        return self._attempt.reason

    @property
    def in_hand(self) -> int:
        """Return how many records are fetched and not handed out."""
        return len(self._records) - self._at

    def commit(self, event: StoredEvent | int) -> bool:
        """Say that this event and all handed out before it are handled: durable on return, and not handed out again.

        An event that is kept no more may be given by its `number`.

        What has gone to another reader meanwhile is passed over; returns whether there was none of it. Waits out an
        outage. Raises ValueError without a group, SinkUnavailable as the iteration does and after `stop`.
        """
        if self._reading.group is None:
            raise ValueError(NO_GROUP)
        self._process.refuse_a_copy()
        return self._commit_until(min(event if isinstance(event, int) else event.number, self._handed))

    def commit_soon(self, event: StoredEvent | int, *, every: int = 500, seconds: float = 1.0) -> bool:
        """Commit this event and those before it with others: each `every` events, or after so many seconds, while
        there is nothing to read, and when the reader is closed. What a crash leaves uncommitted comes again.

        Returns and raises as `commit` does, of what it commits.
        """
        if self._reading.group is None:
            raise ValueError(NO_GROUP)
        number = event if isinstance(event, int) else event.number
        return not self._soon.is_due(number, every, seconds) or self._commit_pending()

    def stopped_by_signals(self) -> AbstractContextManager[None]:
        """Return a context in which SIGTERM and SIGINT end the iteration, once the event in hand is handled; a second
        one ends the process. Of the main thread.
        """
        return stopping(self.stop)

    def alive(self) -> bool:
        """Give a sign of life while the handling of one event takes long; False if the rest of what is fetched is
        another reader's by now.
        """
        self._process.refuse_a_copy()
        return self._still_ours()

    def missed(self) -> int:
        """Return how many records were gone before this reader came to them, or before a group of others did, which
        is what an audit reports; as far as the stream can tell now.
        """
        if not isinstance(self._reader, KnowsGroups) or self._process.copied:
            return self.skipped
        try:
            return self.skipped + max(self._reader.missed_by_groups().values(), default=0)
        except SinkUnavailable:
            return self.skipped

    def before(self, types: Collection[str]) -> Iterator[Sequence[Record]]:
        """Yield records from before the place where reading began: see `LooksBack`; none where it cannot be had."""
        if isinstance(self._reader, LooksBack) and self._reading.group is None and self._opened:
            with suppress(SinkUnavailable):
                yield from self._reader.before(types)

    def stop(self) -> None:
        """End the iteration before the next fetch. May be called from a signal handler or another thread."""
        self._stopping.set()

    def close(self) -> None:
        """Release all; what is not committed goes to the group's next reader. Never raises."""
        self._stopping.set()
        if not self._closed:
            if self._soon.pending is not None and not self._process.copied:
                with suppress(SinkUnavailable):
                    self._commit_pending()
            self._closed = True
            self._records = ()
            if not self._process.copied:
                self._reader.close()
                notices.tell_rest(at_the_end=True)

    def _commit_pending(self) -> bool:
        pending = self._soon.take()
        return pending is None or self.commit(pending)

    def _forget_fetched(self) -> None:
        self._records, self._at = (), 0

    def _fetch(self) -> None:
        self._sweep()
        now = time.monotonic()
        self._size.adapt(self._records, now - self._fetched_at)
        batch = Batch()

        def fetch() -> None:
            # One attempt: a stream that can be opened, and not read, is away all the same.
            nonlocal batch
            if not self._opened:
                self._reader.open()
            batch = self._reader.fetch(self._size.limit, PATIENCE)

        self._opened = self._attempt(fetch)
        self._fetched_at = self._lived_at = time.monotonic()
        self._first += len(self._records)
        self._records, self._at = batch.records, 0
        self._attempt.has_read = self._attempt.has_read or bool(batch.records)
        for partition in batch.revoked:
            self.seen.forget(partition)
        for record in batch.seen:
            self.seen.register(record)
        if batch.skipped:
            self.skipped += batch.skipped
            gone.tell(batch.skipped, self._reading.group, id(self))
        if self._reading.group is not None:
            self._owed.add(self._first, batch.records)
        notices.tell_rest()
        if not batch.records:
            self._rest()

    def _rest(self) -> None:
        """See to what waits for a moment in which there is nothing to read."""
        try:
            self._commit_pending()
        except SinkUnavailable:  # what is not committed comes again
            if not self._stopping.is_set():
                raise
        self._picked.look()
        if self.idle is not None:
            self.idle()

    def _still_ours(self) -> bool:
        """Give a sign of life if it is time to; False where the rest of the batch is another reader's by now."""
        now = time.monotonic()
        if now - self._lived_at < self._reading.lease / 4 or self._reading.group is None:
            return True
        self._lived_at = now
        ours = True

        def live() -> None:
            nonlocal ours
            ours = self._reader.renew_lease()

        self._attempt(live)
        if not ours:
            self._at = len(self._records)
        return ours

    def _sweep(self, interval: float = SWEEP_INTERVAL) -> None:
        """Commit what was dropped, a duplicate or of another type, once nothing that was handed out is before it."""
        if self._reading.group is None or not self._owed or self._handed > self._committed_until:
            return
        if self._at >= len(self._records) and time.monotonic() - self._swept_at >= interval:
            self._swept_at = time.monotonic()
            self._commit_until(self._first + len(self._records) - 1)

    def _commit_until(self, number: int) -> bool:
        positions = self._owed.until(number)
        clean = True

        def commit() -> None:
            nonlocal clean
            clean = self._reader.commit(positions)

        while positions and not self._attempt(commit):
            if self._stopping.is_set():
                raise SinkUnavailable(f"not committed, and stopped: {self._attempt.reason}")
        self._owed.forget(number)
        self._committed_until = max(self._committed_until, number)
        if not clean:
            self._lived_at = 0.0  # ask at once whether the rest of the batch is still ours
        return clean
