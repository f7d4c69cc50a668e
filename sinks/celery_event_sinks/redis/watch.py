"""A look at the streams again: what was there and is gone, by whom it may be, and by what rule of ours it may go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.clock import JUMP, StreamClock
from celery_event_sinks.redis.extent import LAST_PLACE, Extent, entry_of, extent, place, used_up
from celery_event_sinks.redis.trim import Trim, Trimmer, tell_removed

AT_A_TIME = 64
"""Streams that are looked at in one go; where there are more, the next look goes on."""


class StreamWatch:
    """Remembers what each stream was like, and tells of what is gone: `stream-shrunk`, or `removed` by our own rule."""

    def __init__(self, client: RedisClient, trim: Trim, clock: StreamClock) -> None:
        self._client = client
        self._trim = trim
        self._clock = clock
        self._known: dict[bytes, Extent] = {}
        self._own = Counter[bytes]()
        """Entries that this bridge has written since its last look at each stream."""
        self._turn = 0
        self._generation = -1
        self._run_id: bytes | None = None
        self._after_restart: set[bytes] = set()
        """Streams not looked at since the server was found to be another process than the one before."""
        self._newest: dict[bytes, bytes] = {}
        """The last entry of each stream that was confirmed on this connection."""
        self._confirmed_on = 0
        self._sought: dict[bytes, bytes] = {}
        """The same of the connection before, to be looked for on this one."""

    def wrote(self, entries: Mapping[bytes, int]) -> None:
        """Take note of so many new entries of each stream."""
        self._own.update(entries)

    def confirmed(self, stream: bytes, entry: bytes) -> None:
        """Take note of the last entry that was confirmed."""
        self._part_connections()
        self._newest[stream] = entry

    def look(self, names: Sequence[bytes], trimmer: Trimmer) -> bool:
        """Look at some of the streams; returns whether one is another one than before. Raises SinkUnavailable."""
        self._refuse_a_replica()
        self._see_who_it_is(names)
        self._part_connections()
        some = [names[(self._turn + number) % len(names)] for number in range(min(AT_A_TIME, len(names)))]
        self._turn = (self._turn + len(some)) % len(names)
        replaced = False
        replies = self._exchange([(*command, one) for one in some for command in (("XINFO", "STREAM"), ("TTL",))])
        for stream, reply, seconds in zip(some, replies[::2], replies[1::2], strict=True):
            if isinstance(seconds, int) and seconds >= 0:
                self._persist(stream, seconds)
            try:
                now = extent(reply)
            except ResponseError as exc:
                raise SinkUnavailable(self._client.explain_reply(exc, stream)) from exc
            if now is None:
                continue
            self._see_to_ids(stream, now)
            before = self._known.get(stream)
            self._known[stream] = now
            removed, own = trimmer.removed.pop(stream, 0), self._own.pop(stream, 0)
            if before is not None:
                replaced |= self._compare(stream, before, now, removed, own)
            self._after_restart.discard(stream)
            if sought := self._sought.pop(stream, None):
                self._look_for(stream, now, sought)
            # Confirmed on this very connection, before the question: ids never go back but in another stream.
            if (newest := self._newest.get(stream)) is not None and place(newest) > now.last:
                del self._newest[stream]
                self._tell_another(stream, newest, now)
                replaced = True
        return replaced

    def _see_to_ids(self, stream: bytes, now: Extent) -> None:
        """Tell of a last id ahead of the server's clock, which all later ones go by. Raises SinkUnavailable."""
        if now.last == LAST_PLACE:
            raise SinkUnavailable(used_up(self._client.where, stream))
        where, subject = f"Redis at {self._client.where}: the stream {self._name(stream)}", f"ids {stream!r}"
        if (ahead := self._clock.ahead(now.last[0])) > JUMP:
            notices.tell(
                "clock",
                f"{where} has an id {ahead:.0f} s ahead of the server's clock ({entry_of(now.last).decode()}): "
                "somebody has added that entry (XADD, XSETID), or set the clock back; every event gets this time until "
                "then: none is removed for its age or found by its time; RENAME the stream, and a new one is begun",
                subject=subject,
                every=3600.0,
            )
        else:
            notices.over("clock", f"{where} gets ids by the server's clock again", subject=subject)

    def _refuse_a_replica(self) -> None:
        """Raise SinkUnavailable where the master was demoted: it keeps connections, and its name may lead elsewhere."""
        reply = self._client.ask("ROLE")
        if isinstance(reply, list) and reply and reply[0] == b"slave":
            where = self._client.where
            self._client.close()
            raise SinkUnavailable(f"Redis at {where} is a replica now (READONLY): it takes no events")

    def _part_connections(self) -> None:
        if self._client.generation != self._confirmed_on:
            self._confirmed_on = self._client.generation
            self._sought |= self._newest
            self._newest.clear()

    def _see_who_it_is(self, names: Sequence[bytes]) -> None:
        """Ask for the process behind a connection that is another one than at the last look."""
        if self._client.generation == self._generation:
            return
        again = self._generation >= 0
        found = self._client.run_id()
        if again and found is not None and self._run_id not in (None, found):
            self._after_restart.update(names)
        self._run_id = found
        self._generation = self._client.generation

    def _compare(self, stream: bytes, before: Extent, now: Extent, removed: int, own: int) -> bool:
        """Tell of what is gone; returns whether the stream is another one.

        `removed`: by this bridge's XTRIM; `own`: entries that it has written, of all streams.
        """
        another = now.last < before.last or (
            before.added is not None and now.added is not None and now.added < before.added
        )
        moved = before.first is not None and (now.first is None or now.first > before.first)
        if another:
            gone = before.length
        elif before.added is not None and now.added is not None:
            gone = before.length + now.added - before.added - now.length
            if gone <= 0 and moved:  # by its numbers nothing was removed: as many were added since it was made anew
                gone, another = before.length, True
        else:
            gone = before.length - now.length
            if gone <= 0 and moved:
                gone = 1  # at least
        elsewhere = self._elsewhere(stream, before, now, own) if not another else 0
        gone -= removed
        if another or elsewhere:
            self._newest.pop(stream, None)
            self._sought.pop(stream, None)
        if gone <= 0:
            return another
        if another or not self._by_our_rule(stream, before, now):
            self._tell_shrunk(stream, gone, now, another=another)
        elif self._trim.rule == "maxlen":
            # Each write of every bridge removes some: this one's share by what it has written.
            written = gone if now.added is None or before.added is None else now.added - before.added
            tell_removed(stream, round(gone * min(1.0, own / max(1, written))), self._trim)
        return another

    def _elsewhere(self, stream: bytes, before: Extent, now: Extent, own: int) -> int:
        """Tell of what this bridge has written into another stream of that name; returns how many it were."""
        if before.added is None or now.added is None:
            return 0
        elsewhere = max(0, own - (now.added - before.added))
        if elsewhere:
            notices.tell(
                "stream-shrunk",
                f"Redis at {self._client.where}: {elsewhere} entries of the stream {self._name(stream)} had been "
                "confirmed and are not in it: another stream had its name when they were written (RENAME, SWAPDB, "
                "COPY, RESTORE), or Redis came back without them",
                subject=f"redis elsewhere {stream!r}",
                count=elsewhere,
            )
        return elsewhere

    def _by_our_rule(self, stream: bytes, before: Extent, now: Extent) -> bool:
        """Return whether BRIDGE_REDIS_TRIM may have removed them: this bridge's, or that of another on the stream."""
        rule, bound = self._trim
        if rule == "maxlen":
            if now.length < min(bound, before.length):
                return False
            # Before Redis 7 nobody can tell how many came in between.
            return now.added is None or before.added is None or before.length + now.added - before.added > bound
        if rule == "acked":
            return now.exists and bool(self._client.ask("XINFO", "GROUPS", stream))  # without a group it removes none
        if rule == "age" and now.exists and (clock := self._clock.milliseconds()) is not None:
            oldest = (clock - round(bound * 1000), 0)
            if before.first is not None and before.first > oldest:
                return False  # everything was younger
            # The newest of them was too young, and is gone with all the others?
            return before.last < oldest or (now.first is not None and now.first <= before.last)
        return False

    def _look_for(self, stream: bytes, now: Extent, newest: bytes) -> None:
        """Look for the last confirmed entry on a new connection: a replica that was promoted may not have got it."""
        if place(newest) > now.last:
            self._tell_unconfirmed(stream, newest)
        elif now.first is not None and now.first <= place(newest) and self._trim.rule != "acked":
            (found,) = self._exchange([("XRANGE", stream, newest, newest)])
            if isinstance(found, list) and not found:
                self._tell_unconfirmed(stream, newest)

    def _tell_shrunk(self, stream: bytes, gone: int, now: Extent, *, another: bool) -> None:
        what = "removed from it by somebody (XTRIM, XDEL)"
        if not now.exists:
            what = "gone with it: it was deleted, renamed or evicted, or Redis was emptied (FLUSHALL, SWAPDB)"
        elif now.length == 0:
            what = "gone: it was emptied (XTRIM, XDEL) or made anew, or Redis came back without its data"
        elif another:
            what = "gone with it: it was deleted (DEL, RENAME, FLUSHALL), and what was written next has made another"
        if stream in self._after_restart:
            what += "; Redis is another process than before: has it restarted without its file, or failed over?"
        least = "at least " if another or not now.exists else ""  # what came since the last look is gone as well
        where = f"Redis at {self._client.where}: {least}{gone} entries of the stream {self._name(stream)}"
        notices.tell(
            "stream-shrunk",
            f"{where} that were there are {what}",
            subject=f"redis {stream!r}",
            count=gone,
        )

    def _persist(self, stream: bytes, seconds: int) -> None:
        """Take away an expiry, which nobody of ours sets: all of the stream would go at once."""
        reply = self._client.ask("PERSIST", stream)
        done = "it was taken away (PERSIST)" if reply == 1 else "take it away (PERSIST), or all of it is gone then"
        notices.tell(
            "stream-advice",
            f"Redis at {self._client.where}: somebody has set the stream {self._name(stream)} to expire in {seconds} s "
            f"(EXPIRE): {done}",
            subject=f"redis expiry {stream!r}",
        )

    def _tell_another(self, stream: bytes, newest: bytes, now: Extent) -> None:
        ends = f"it ends at {entry_of(now.last).decode()}" if now.exists else "it is not there"
        notices.tell(
            "stream-shrunk",
            f"Redis at {self._client.where}: entry {newest.decode()} of the stream {self._name(stream)} had been "
            f"confirmed and is gone, and maybe others: {ends}; an older stream was put in its place (RENAME, COPY, "
            "RESTORE), or it was deleted",
            subject=f"redis another {stream!r}",
        )

    def _tell_unconfirmed(self, stream: bytes, newest: bytes) -> None:
        where = f"Redis at {self._client.where}: entry {newest.decode()} of the stream {self._name(stream)}"
        notices.tell(
            "stream-shrunk",
            f"{where} had been confirmed and is gone since the connection was lost, and maybe others: a replica was "
            "promoted that had not got them (BRIDGE_REDIS_WAIT), or Redis came back without them (appendfsync always)",
            subject=f"redis confirmed {stream!r}",
        )

    def _exchange(self, commands: Iterable[Sequence[str | bytes | int]]) -> list[Any]:
        replies, lost = self._client.exchange(list(commands))
        if lost is not None:
            raise lost
        return replies

    @staticmethod
    def _name(stream: bytes) -> str:
        return repr(stream.decode(errors="replace"))
