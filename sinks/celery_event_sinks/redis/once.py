"""Events that Redis >= 8.6 takes for stored already, though somebody has removed their entries since.

`XADD ... IDMP` with an id that Redis remembers answers with the entry that it had got, and stores nothing, whether that
entry is still there or not. A new entry gets a higher id than all before it. So an answer that is not above the last
one is in doubt: the entry is looked for, and where it is gone, the event is written again. Redis gets another id for it
then, made of the event's and the entry's, so that this is stored once too, whoever writes it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence

import msgspec
from redis.exceptions import ResponseError

from celery_event_bridge.contract import Event, SinkUnavailable, notices
from celery_event_sinks.redis.client import Command, RedisClient, Reply
from celery_event_sinks.redis.commands import EntryPacker
from celery_event_sinks.redis.errors import code_of
from celery_event_sinks.redis.extent import NOWHERE, entry_of, place
from celery_event_sinks.redis.trim import Trimmer
from celery_event_sinks.redis.watch import StreamWatch

AT_A_TIME, BYTES_AT_A_TIME = 1000, 1024 * 1024
"""Looked for at a time, with their data; one larger event goes alone."""
NOTHING = entry_of(NOWHERE)
TRIALS = 3
"""Times that an event is written again with an id of its own to Redis; after that without one."""


class Doubt(msgspec.Struct, eq=False):
    """An event that Redis has answered with an entry that is no new one."""

    event: Event
    stream: bytes
    entry: bytes
    trials: int = 0


class Once:
    """Tells answers of new entries from those of entries that were there, and sees to it that these are."""

    def __init__(
        self,
        client: RedisClient,
        packer: EntryPacker,
        trimmer: Trimmer,
        watch: StreamWatch,
        ends: dict[bytes, bytes],
    ) -> None:
        """`ends`: an id of each stream of a server that drops duplicates, above which all new ones are."""
        self._client = client
        self._packer = packer
        self._trimmer = trimmer
        self._watch = watch
        self._ends = ends
        self._doubts: deque[Doubt] = deque()

    def __bool__(self) -> bool:
        return bool(self._doubts)

    def forget(self) -> None:
        """Begin with nothing in doubt."""
        self._doubts.clear()

    def begin(self, milliseconds: int | None, streams: Sequence[bytes]) -> None:
        """Take note that nothing is on its way at this time of the server's clock: what comes gets a later one."""
        if milliseconds is None:
            return
        for stream in set(streams).intersection(self._ends):
            if milliseconds > place(self._ends[stream])[0]:
                self._ends[stream] = b"%d-0" % milliseconds

    def take(self, events: list[Event], streams: Sequence[bytes], replies: Sequence[Reply]) -> list[Event]:
        """Return the events that are stored for certain, of those that were answered with an id; others are in doubt.

        `streams` and `replies` may be more, with errors between them.
        """
        if len(events) < len(replies):
            answered = [(stream, reply) for stream, reply in zip(streams, replies, strict=True) if type(reply) is bytes]
            streams, replies = [stream for stream, _ in answered], [reply for _, reply in answered]
        counts = {streams[0]: len(streams)} if streams.count(streams[0]) == len(streams) else Counter(streams)
        if self._ends and (old := self._all_old(counts, streams, replies)):
            self._doubts += (Doubt(events[number], streams[number], replies[number]) for number in sorted(old))
            events = [event for number, event in enumerate(events) if number not in old]
            streams = [stream for number, stream in enumerate(streams) if number not in old]
            replies = [reply for number, reply in enumerate(replies) if number not in old]
            counts = Counter(streams)
        if events:
            self._watch.wrote(counts)
            self._watch.confirmed(streams[-1], replies[-1])
        return events

    def _all_old(self, used: Collection[bytes], streams: Sequence[bytes], replies: Sequence[bytes]) -> set[int]:
        """Return which replies are no ids of new entries, `used` being all streams there are."""
        if len(used) == 1:
            return set(self._old(streams[0], replies))
        old = set[int]()
        for stream in used:
            numbers = [number for number, one in enumerate(streams) if one == stream]
            old.update(numbers[number] for number in self._old(stream, [replies[number] for number in numbers]))
        return old

    def _old(self, stream: bytes, replies: Sequence[bytes]) -> list[int]:
        """Return which replies are no ids of new entries of that stream."""
        old = list[int]()
        end = self._ends.get(stream, NOTHING)
        length = len(end)
        for number, reply in enumerate(replies):
            # Of one length they compare as they are: milliseconds have 13 digits until the year 2286.
            if reply > end and len(reply) == length:
                end = reply
            elif place(reply) > place(end):
                end, length = reply, len(reply)
            else:
                old.append(number)
        self._ends[stream] = end
        return old

    def settle(self) -> list[Event]:
        """Look for some of those in doubt, and write again what is gone; returns the events that are stored now.

        To be called with nothing on its way. Raises SinkUnavailable; they are still in doubt then.
        """
        some, size = list[Doubt](), 0
        for doubt in self._doubts:
            size += len(doubt.event.data)
            if some and (len(some) == AT_A_TIME or size > BYTES_AT_A_TIME):
                break
            some.append(doubt)
        found = self._ask([("XRANGE", doubt.stream, doubt.entry, doubt.entry) for doubt in some])
        gone = [doubt for doubt, reply in zip(some, found, strict=True) if self._is_gone(doubt, reply)]
        again = self._write_again(gone) if gone else []
        for _ in some:
            self._doubts.popleft()
        self._doubts += again
        in_doubt = {id(doubt.event) for doubt in again}
        return [doubt.event for doubt in some if id(doubt.event) not in in_doubt]

    def give_up(self) -> list[Event]:
        """Return all that is in doubt, which nobody knows to be stored."""
        events = [doubt.event for doubt in self._doubts]
        self._doubts.clear()
        return events

    def _write_again(self, gone: Sequence[Doubt]) -> list[Doubt]:
        """Write again what no rule of ours has removed; returns what is in doubt once more. Raises SinkUnavailable."""
        kept_from = {stream: self._trimmer.kept_from(stream) for stream in {doubt.stream for doubt in gone}}
        lost = [doubt for doubt in gone if place(doubt.entry) >= kept_from[doubt.stream]]
        if not lost:
            return []
        replies = self._ask(
            [
                self._packer.again(doubt.event, doubt.stream, doubt.entry if doubt.trials < TRIALS else None)
                for doubt in lost
            ]
        )
        for doubt, reply in zip(lost, replies, strict=True):
            if type(reply) is not bytes:
                raise SinkUnavailable(self._client.explain_reply(reply, doubt.stream))
        new = Counter[bytes]()
        again = list[Doubt]()
        for doubt, reply in zip(lost, replies, strict=True):
            if self._old(doubt.stream, [reply]) and doubt.trials < TRIALS:
                again.append(msgspec.structs.replace(doubt, entry=reply, trials=doubt.trials + 1))
            else:
                new[doubt.stream] += 1
        self._watch.wrote(new)
        for stream, count in new.items():
            notices.tell(
                "stored-again",
                f"Redis at {self._client.where}: {count} events that it took for stored in the stream "
                f"{stream.decode(errors='replace')!r} (IDMP) were not there any more, as somebody had removed them "
                "(XDEL, XTRIM): they were written again",
                subject=f"redis again {stream!r}",
                count=count,
            )
        return again

    def _ask(self, commands: Sequence[Command]) -> Sequence[Reply]:
        replies, lost = self._client.exchange(commands)
        if lost is not None:
            raise lost
        return replies

    def _is_gone(self, doubt: Doubt, reply: Reply) -> bool:
        """Return whether there is no such entry. A user who may not ask learns nothing. Raises SinkUnavailable."""
        if isinstance(reply, ResponseError) and code_of(reply) != "NOPERM":
            raise SinkUnavailable(self._client.explain_reply(reply, doubt.stream))
        return isinstance(reply, list) and not reply
