"""Reads Redis streams back: for oneself by XREAD, or for a group, whose readers share the entries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, ClassVar

from redis.exceptions import ResponseError

from celery_event_bridge.contract import Batch, Reading, Record, SinkUnavailable, StreamMissing, StreamRefused
from celery_event_sinks.redis.anew import ReadPlaces
from celery_event_sinks.redis.begin import Beginning
from celery_event_sinks.redis.client import Reply
from celery_event_sinks.redis.ends import End, Ends, Entries
from celery_event_sinks.redis.errors import is_of_another_type
from celery_event_sinks.redis.extent import Place, entry_of, extent, is_absent, place
from celery_event_sinks.redis.group import LOOKED_AT, GroupGone, RedisGroup
from celery_event_sinks.redis.overtaken import ReaderOvertaken, missed_by_groups
from celery_event_sinks.redis.settings import RedisSettings, from_url, streams
from celery_event_sinks.redis.stored import Found, record
from celery_event_sinks.redis.timed import REPLY_TIMEOUT

CLAIM_INTERVAL = 4
"""The part of a lease after which to be heard of, and to look for the dead."""


class RedisReader:
    """The streams that the settings name."""

    sink: ClassVar[str] = "redis"
    Settings = RedisSettings

    def __init__(self, settings: RedisSettings, reading: Reading) -> None:
        self._reading = reading
        self._client = settings.client()
        self._group = RedisGroup(self._client, reading.group, reading.lease) if reading.group else None
        self._begin = Beginning(self._asked)
        self._streams = streams(settings)
        self._after: dict[bytes, Place] = {}
        """The last entry that was fetched of each stream, without a group."""
        self._ends = Ends(self._asked, self._client, self._begin, reading)
        self._open: list[bytes] = []
        """Streams that have not ended."""
        self._seen: list[Record] = []
        self._partitions: dict[bytes, Hashable] = {}
        """By stream, as the last batch has them."""
        self._overtaken = ReaderOvertaken()
        self._places = ReadPlaces(self._client)
        self._turn = 0
        self._skipped = 0
        """Entries that were gone before they were read, and that no batch has told of."""
        self._missed = False
        """True if a reply may have been lost, with entries in it."""
        self._claim_due = 0.0
        self._waits_since: float | None = None
        """Since when there was nothing more to read before the end, in a group."""
        self._left_behind = False
        """True if another consumer of the group, which may be dead, holds entries from before the end."""

    @staticmethod
    def from_url(url: str, settings: RedisSettings) -> Mapping[str, str]:
        """`redis://host:6379/0?stream=celery-events`; user and password those of the settings for the same server."""
        return from_url(url, settings)

    @staticmethod
    def identity(settings: RedisSettings) -> Set[Hashable]:
        """Return the ids of the server and of its history, each with database and key. Raises SinkUnavailable."""
        client = settings.client()
        try:
            where = client.whereabouts()
        finally:
            client.close()
        return {("redis", *each, stream) for each in where for stream in streams(settings)}

    def open(self) -> None:
        """Connect, join the group, and find out where to begin."""
        self._client.connect()
        alone = self._reading.ends and self._group is None
        found = {stream: self._client.ask("XINFO", "STREAM", stream) for stream in self._streams}
        for stream, reply in found.items():
            if is_of_another_type(reply):
                raise StreamRefused(self._client.explain_reply(reply, stream))
        if alone and all(map(is_absent, found.values())):
            names = ", ".join(repr(stream.decode()) for stream in self._streams)
            raise StreamMissing(f"there is no stream {names} in Redis yet: is it the right name, server and database?")
        for stream in self._streams:
            if self._reading.ends:
                self._ends.note(stream)
            if self._group is not None and stream in self._after:
                self._group.join_again(stream)
            elif self._group is not None:
                delivered = self._group.join(stream, self._begin.after(stream, self._reading))
                self._seen += self._begin.read_back(stream, delivered, self._reading.read_back // len(self._streams))
                self._after[stream] = place(delivered)
            elif stream not in self._after:
                self._after[stream] = place(self._begin.after(stream, self._reading).encode())
            if stream not in self._open and (
                not self._reading.ends or self._ends.is_ahead(stream, self._after[stream])
            ):
                self._open.append(stream)
        self._left_behind = self._group is not None

    def fetch(self, limit: int, timeout: float) -> Batch:
        """Return what a dead consumer has left, then the next entries."""
        seen, self._seen = self._seen, []
        try:
            with self._client.within(timeout + REPLY_TIMEOUT):
                found = self._of_the_group(self._group, limit, timeout) if self._group else self._own(limit, timeout)
        except SinkUnavailable:
            self._missed = True
            self._seen = seen
            raise
        if self._group:
            self._group.hand_out(found)
            if self._group.released:
                self._group.released = False  # nothing of what was fetched before is in hand any more
                self._claim_due = 0.0
            self._skipped += self._group.skipped
            self._group.skipped = 0
        before, self._partitions = self._partitions, {stream: self._partition(stream) for stream in self._streams}
        revoked = [old for stream, old in before.items() if self._partitions[stream] != old]
        partitions = self._partitions
        records = [record(partitions[stream], at, fields) for stream, entries in found for at, fields in entries]
        skipped, self._skipped = self._skipped, 0
        return Batch(records, seen, revoked, skipped)

    def _partition(self, stream: bytes) -> Hashable:
        return self._group.partition(stream) if self._group else stream

    def ended(self) -> bool:
        """Tell whether all is fetched that was there when it was opened."""
        return self._reading.ends and not self._open and not self._left_behind

    def renew_lease(self) -> bool:
        """Let Redis know of this consumer. What was claimed from it nevertheless, a commit passes over."""
        if self._group is None:
            return True
        with self._client.within(REPLY_TIMEOUT):
            try:
                self._group.live(self._streams)
            except GroupGone:
                self._join_again(self._group)
            if self._group.released:
                self._group.release_all()  # who asks drops the rest of all streams
        return not self._group.released

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """Acknowledge these entries, unless they are another consumer's by now."""
        assert self._group is not None
        with self._client.within(REPLY_TIMEOUT):
            ours = [self._group.commit(partition, places) for partition, places in positions.items()]
        return all(ours)

    def _join_again(self, group: RedisGroup) -> None:
        for stream in self._streams:
            group.join_again(stream)

    def missed_by_groups(self) -> Mapping[str, int]:
        """Judge by the numbers of Redis 7 and newer, while it knows them."""
        missed: Counter[str] = Counter()
        with self._client.within(REPLY_TIMEOUT):
            for stream in self._streams[:LOOKED_AT]:
                replies, lost = self._client.exchange([("XINFO", "STREAM", stream), ("XINFO", "GROUPS", stream)])
                if lost is not None:
                    raise lost
                if any(isinstance(reply, ResponseError) for reply in replies):
                    continue
                missed.update(missed_by_groups(replies[0], replies[1], self._reading.since))
        return missed

    def close(self) -> None:
        """Hand on what is not committed, and disconnect."""
        try:
            if self._group is not None and self._after:
                with self._client.within(REPLY_TIMEOUT):
                    for stream in self._streams:
                        self._group.leave(stream)
        except SinkUnavailable:
            pass  # it is found by the lease
        self._client.close()

    def _own(self, limit: int, timeout: float) -> Found:
        if not self._open:
            return []
        after = [entry_of(self._after[stream]) for stream in self._open]
        read = ("XREAD", *self._options(limit, timeout), "STREAMS", *self._open, *after)
        some = [
            self._open[(self._turn + number) % len(self._open)] for number in range(min(LOOKED_AT, len(self._open)))
        ]
        self._turn += len(some)
        replies, lost = self._client.exchange([*[("XINFO", "STREAM", stream) for stream in some], read])
        if lost is not None:
            raise lost
        reply = self._checked(replies[-1])
        found = [(stream, [(place(at), fields) for at, fields in entries]) for stream, entries in reply or ()]
        skipped: dict[bytes, int] = {}
        for stream, of_stream in zip(some, replies[:-1], strict=True):
            now = None if isinstance(of_stream, ResponseError) else extent(of_stream)
            if now is not None and now.exists and now.last < self._after[stream]:
                self._after[stream] = self._places.put_right(stream, now, self._after[stream], None)
                self._overtaken.forget(stream)
                found = [one for one in found if one[0] != stream]
            elif now is not None:
                skipped[stream] = self._overtaken.skipped(stream, now, self._after[stream])
        for stream, entries in found:
            self._after[stream] = entries[-1][0]
            self._places.add(stream, entries)
            self._overtaken.read(stream, len(entries))
        self._skipped += sum(skipped.values())
        if not self._reading.ends:
            return found
        fetched = dict(found)
        self._skipped += self._ends.missed(self._open, fetched, skipped)
        self._open = [stream for stream in self._open if self._ends.is_before(stream, fetched.get(stream, ()))]
        return [(stream, self._ends.up_to(stream, entries)) for stream, entries in found]

    def _of_the_group(self, group: RedisGroup, limit: int, timeout: float) -> Found:
        try:
            return self._from_the_group(group, limit, timeout)
        except GroupGone:
            self._missed = True  # what came from another stream before
            self._join_again(group)
            self._claim_due = 0.0
            return []

    def _from_the_group(self, group: RedisGroup, limit: int, timeout: float) -> Found:
        found = self._missed_of(group)
        if any(entries for _, entries in found):
            return found  # to be in hand before it is asked who has what
        now = time.monotonic()
        if now >= self._claim_due or not self._open:
            self._claim_due = now + self._reading.lease / CLAIM_INTERVAL
            group.live(self._streams)
            for stream in self._streams:
                found += group.take_over(stream, limit)
        if any(entries for _, entries in found):
            self._claim_due = 0.0  # there may be more of it
            return found
        if not self._open:
            self._wait_for_the_dead(group, timeout)
            return []
        count, block = self._count(limit), None if self._reading.ends else max(1, round(timeout * 1000))
        found = group.read(self._open, count, block)
        if self._reading.ends:
            try:
                self._look_for_the_ends(group, dict(found))
            except GroupGone:
                if not any(entries for _, entries in found):
                    raise
        return found  # what came later too: the group has it delivered already

    def _missed_of(self, group: RedisGroup) -> Found:
        found: Found = []
        if self._missed:
            for stream in self._streams:
                found += group.read_again(stream)
            self._missed = False
        return found

    def _look_for_the_ends(self, group: RedisGroup, fetched: Mapping[bytes, Entries]) -> None:
        states = {stream: self._ends.of_group(group, stream, fetched.get(stream, ())) for stream in self._open}
        self._open = [stream for stream, end in states.items() if end is End.AHEAD]
        if not group.skipped:  # told of already
            self._skipped += sum(end is End.GONE for end in states.values())

    def _wait_for_the_dead(self, group: RedisGroup, timeout: float) -> None:
        """Look at the end for entries that a reader had in hand when it was killed: they are not for nobody.

        Who lives is heard of meanwhile and is not waited for: two readers may each keep what they read until their end.
        """
        if self._waits_since is None:
            self._waits_since = time.monotonic()
        waited = time.monotonic() - self._waits_since
        self._left_behind = any(group.left_behind(stream, self._ends.last[stream], waited) for stream in self._streams)
        if self._left_behind:
            time.sleep(timeout)

    def _options(self, limit: int, timeout: float) -> Sequence[str | int]:
        options = ("COUNT", self._count(limit))
        return options if self._reading.ends else (*options, "BLOCK", max(1, round(timeout * 1000)))

    def _count(self, limit: int) -> int:
        return max(1, limit // max(1, len(self._open)))  # Redis counts for each stream

    def _asked(self, *command: str | bytes | int) -> Any:
        return self._checked(self._client.ask(*command))

    def _checked(self, reply: Reply) -> Any:
        if isinstance(reply, ResponseError):
            raise self._client.unavailable(reply)
        return reply
