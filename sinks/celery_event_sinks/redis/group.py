"""A Redis consumer group, over the streams of one reader: join, commit, take over from the dead, leave.

A reader is one consumer with a name of its own. It is dead when Redis has not heard of it for the lease; what it held
is then claimed. Redis itself lets anyone acknowledge anything, so a commit is a script that acknowledges only what is
still this consumer's: what a survivor has claimed meanwhile is left to it.

Others may destroy the group or this consumer. Then the group is made again after what this reader has read, and what it
holds is released, to be handed out again: to Redis nobody had read it.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import Command, RedisClient, Reply
from celery_event_sinks.redis.errors import code_of
from celery_event_sinks.redis.extent import Place, entry_of, extent, fields_of, is_absent, place
from celery_event_sinks.redis.in_hand import CHUNK, LONG_AGO, RELEASED, InHand
from celery_event_sinks.redis.position import GroupPosition, tell
from celery_event_sinks.redis.scripts import COMMIT, LEAVE, REMOVE
from celery_event_sinks.redis.stored import Found, found_in
from celery_event_sinks.redis.vanished import VanishedConsumers

NEVER = f"{2**64 - 1}-{2**64 - 2}"
"""Id after which this consumer holds nothing. A greater one would mean `>` to Redis, which is new entries."""
LONG_GONE = 10
"""Leases after which a consumer that holds nothing is removed."""
LOOKED_AT = 16
"""Streams that are looked at before a read; where there are more, the next read goes on."""


class GroupGone(SinkUnavailable):
    """Somebody has destroyed the group, or the stream with it."""


class RedisGroup:
    """A reader's part in a group. Each method raises SinkUnavailable."""

    def __init__(self, client: RedisClient, name: str, lease: float) -> None:
        self._client = client
        self._name = name
        self._lease = max(1, round(lease * 1000))
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._in_hand = InHand(self._asked, name, self._consumer)
        self._position = GroupPosition(client, name)
        self.before: dict[bytes, Place] = {}
        """The last entry that the group had delivered before the last read, by stream that was looked at."""
        self._vanished = VanishedConsumers(self._asked, name, self._lease, (RELEASED, LONG_AGO))
        self._turn = 0
        self.skipped = 0
        """Entries that were gone before the group came to them, since somebody has taken the number from here."""
        self._heard_at = time.monotonic()
        self._silent = False
        """True if Redis may have counted this consumer as dead while it held what it holds."""

    @property
    def released(self) -> bool:
        """Return whether what was held was released, since somebody has set it back."""
        return self._in_hand.released

    @released.setter
    def released(self, value: bool) -> None:
        self._in_hand.released = value

    def partition(self, stream: bytes) -> Hashable:
        """Return what a stream's records are known by: another value once what was held is released."""
        releases = self._in_hand.releases[stream]
        return (stream, releases) if releases else stream

    def join(self, stream: bytes, after: str) -> bytes:
        """Make the group if need be, to begin after this entry; returns the last one that it has delivered."""
        reply = self._client.ask("XGROUP", "CREATE", stream, self._name, after, "MKSTREAM")
        if isinstance(reply, ResponseError) and "BUSYGROUP" not in str(reply):
            raise SinkUnavailable(self._client.explain_reply(reply, stream))
        delivered = self.delivered(stream)
        return entry_of(self._position.begin(stream, self._client.ask("XINFO", "STREAM", stream), delivered))

    def join_again(self, stream: bytes) -> None:
        """Make the group again where this reader was, if it is not there any more."""
        reply = self._client.ask("XINFO", "STREAM", stream)
        now = None if isinstance(reply, ResponseError) and not is_absent(reply) else extent(reply)
        after = self._position.last[stream]
        number: Sequence[str | int] = ()
        if now is not None and now.last < after:
            after = (0, 0)  # another stream, all of which is new
        elif now is not None and (read := self._position.entries_read(stream, now)) is not None:
            number = ("ENTRIESREAD", read)  # so that what is gone meanwhile can be counted
        create = ("XGROUP", "CREATE", stream, self._name, entry_of(after), "MKSTREAM")
        reply = self._client.ask(*create, *number)
        if isinstance(reply, ResponseError) and number and code_of(reply) == "ERR":
            reply = self._client.ask(*create)
        if isinstance(reply, ResponseError):
            if "BUSYGROUP" not in str(reply):
                raise SinkUnavailable(self._client.explain_reply(reply, stream))
            return
        self._position.made_again(stream, after)
        self._vanished.forget(stream)
        self._in_hand.release(stream, f"was destroyed, and is made again after entry {entry_of(after).decode()}")

    def read(self, streams: Sequence[bytes], count: int, block: int | None) -> Found:
        """New entries for this consumer; and a look at whether any were gone before the group came to them."""
        wait = () if block is None else ("BLOCK", block)
        read = (*self._command(count), *wait, "STREAMS", *streams, *[">"] * len(streams))
        some = [streams[(self._turn + number) % len(streams)] for number in range(min(LOOKED_AT, len(streams)))]
        self._turn = (self._turn + len(some)) % len(streams)
        # In one go: nothing comes between the looks and the read, unless it waits for the first entry to come.
        looks = [("XINFO", what, stream) for stream in some for what in ("STREAM", "GROUPS")]
        replies, lost = self._client.exchange([*looks, read])
        if lost is not None:
            raise lost
        for number, stream in enumerate(some):
            self.skipped += self._position.look_at(stream, *replies[2 * number : 2 * number + 2])
        self.before = {stream: self._position.last[stream] for stream in some}
        found = found_in(self._checked(replies[-1]))
        self._heard()
        for stream, entries in found:
            if entries:
                self._position.delivered(stream, entries)
        return found

    def delivered(self, stream: bytes) -> Place:
        """Return the last entry that the group has delivered, as Redis has it now."""
        groups = map(fields_of, self._asked("XINFO", "GROUPS", stream))
        mine = next((group for group in groups if group[b"name"] == self._name.encode()), None)
        if mine is None:
            raise GroupGone(f"the group {self._name!r} is not there any more")
        return place(mine[b"last-delivered-id"])

    def read_again(self, stream: bytes) -> Found:
        """Return what Redis has given this consumer and a lost connection has kept from it."""
        self._in_hand.come_back(stream)
        held = self._in_hand.held(stream)
        found: Found = []
        after = b"0-0"
        while True:
            ((_, entries),) = self._asked(*self._command(CHUNK), "STREAMS", stream, after)
            missed = [[entry, fields] for entry, fields in entries if place(entry) not in held]
            if gone := [entry for entry, fields in missed if fields is None]:
                self.skipped += len(gone)
                self._asked("XACK", stream, self._name, *gone)
            found += found_in([[stream, missed]])
            if len(entries) < CHUNK:
                return found
            after = entries[-1][0]

    def hand_out(self, found: Found) -> None:
        """Take note that these are handed out from now on; what is held beside them was missed."""
        for stream, entries in found:
            self._in_hand.held(stream).update(one for one, _ in entries)

    def live(self, streams: Sequence[bytes]) -> None:
        """Be heard of. Before Redis 7.2 a consumer that waits, and gets nothing, is not."""
        self._asked(*self._command(1), "STREAMS", *streams, *[NEVER] * len(streams))
        self._heard()

    def take_over(self, stream: bytes, limit: int) -> Found:
        """Claim up to so many entries of consumers that are dead."""
        consumers = [fields_of(one) for one in self._asked("XINFO", "CONSUMERS", stream, self._name)]
        mine = sum(one[b"pending"] for one in consumers if one[b"name"] == self._consumer.encode())
        self._regain(stream)
        acknowledged = self._in_hand.come_back(stream)
        found: Found = []
        if mine - acknowledged > len(self._in_hand.held(stream)):
            found += self.read_again(stream)
        if missed := sum(len(entries) for _, entries in found):
            tell(self._name, stream, f"holds {missed} entries for this reader that it had not in hand: they come again")
        if again := self._vanished.look(stream, consumers, self._consumer.encode()):
            tell(self._name, stream, f"has lost a consumer (XGROUP DELCONSUMER): {again} entries are handed out again")
        for one in consumers:
            name, idle, pending = one[b"name"], one[b"idle"], one[b"pending"]
            if name == self._consumer.encode() or (idle < self._lease and name != RELEASED):
                continue
            if pending:
                found += self._claim(stream, name, limit)
            elif idle >= LONG_GONE * self._lease:
                self._asked("EVAL", REMOVE, 1, stream, self._name, name)
        return found

    def left_behind(self, stream: bytes, end: Place, waited: float) -> bool:
        """Return whether one that was silent for these seconds, and so may be dead, holds an entry up to this one."""
        consumers = map(fields_of, self._asked("XINFO", "CONSUMERS", stream, self._name))
        silent = [
            one[b"name"]
            for one in consumers
            if one[b"pending"]
            and one[b"name"] != self._consumer.encode()
            and (one[b"name"] == RELEASED or one[b"idle"] >= waited * 1000)
        ]
        return any(self._asked("XPENDING", stream, self._name, "-", entry_of(end), 1, name) for name in silent)

    def commit(self, partition: Hashable, places: Sequence[Place]) -> bool:
        """Acknowledge those that are this consumer's; whether all were."""
        stream = partition[0] if isinstance(partition, tuple) else partition
        assert isinstance(stream, bytes)
        if partition != self.partition(stream):
            return False  # released since, and handed out again
        try:
            if self._in_hand.gone(stream, places):
                self._in_hand.come_back(stream)
            done = self._acknowledge(stream, places)
        except GroupGone:
            self.join_again(stream)
            done = []
        count = len(done) + self._in_hand.gone(stream, places)
        if count < len(places):
            self._in_hand.committed(stream, done)
            if self._regain(stream):
                return False
        self._in_hand.committed(stream, places)
        if not self._in_hand.held(stream):
            self._silent = False
        return count >= len(places) and partition == self.partition(stream)

    def _acknowledge(self, stream: bytes, places: Sequence[Place]) -> Sequence[Place]:
        """Acknowledge those that are this consumer's; returns which these were."""
        most = len(self._in_hand.held(stream)) + CHUNK
        chunks = [places[first : first + CHUNK] for first in range(0, len(places), CHUNK)]
        commands: list[Command] = []
        for some in chunks:
            bounds = (entry_of(min(some)), entry_of(max(some)), most)
            commands.append(
                ("EVAL", COMMIT, 1, stream, self._name, self._consumer, *bounds, *[entry_of(one) for one in some])
            )
        replies, lost = self._client.exchange(commands)
        if lost is not None:
            raise lost
        done: list[Place] = []
        for some, reply in zip(chunks, map(self._checked, replies), strict=True):
            done += some if isinstance(reply, int) else map(place, reply)
        return done

    def leave(self, stream: bytes) -> None:
        """Hand on what is held. The consumer stays, without any, until it is long gone: see `VanishedConsumers`."""
        self._asked("EVAL", LEAVE, 1, stream, self._name, self._consumer, RELEASED, LONG_AGO)
        self._in_hand.drop(stream)

    # What others do -----------------------------------------------------------------------------------------------

    def release_all(self) -> None:
        """Release what is held of each stream, where what was fetched of all of them is dropped for the sake of one."""
        for stream in self._in_hand.streams():
            self._in_hand.release(stream, "is read again by all, as one of its streams was set back")

    def _heard(self) -> None:
        """Redis has heard of this consumer, after some time or other."""
        now = time.monotonic()
        self._silent |= (now - self._heard_at) * 1000 >= self._lease and bool(self._in_hand)
        self._heard_at = now

    def _regain(self, stream: bytes) -> bool:
        """Release what is held where somebody has removed this consumer, and with it all that says who holds what.

        Not so after a silence: then others may have claimed it, and handled it. Returns whether it was so.
        """
        return not self._silent and self._in_hand.regain(stream)

    # Commands -----------------------------------------------------------------------------------------------------

    def _claim(self, stream: bytes, consumer: bytes, limit: int) -> Found:
        pending = self._asked("XPENDING", stream, self._name, "IDLE", self._lease, "-", "+", limit, consumer)
        if not pending:
            return []
        # Of two that claim the same the first one has it: it is idle no longer for the second.
        wanted = [one[0] for one in pending]
        claimed = self._asked("XCLAIM", stream, self._name, self._consumer, self._lease, *wanted)
        found = found_in([[stream, claimed]])
        have = {one for _, entries in found for one, _ in entries}
        for entry in wanted:
            if place(entry) not in have and not self._asked("XRANGE", stream, entry, entry):
                self.skipped += 1
                self._asked("XACK", stream, self._name, entry)  # before Redis 7 it stays pending
        return found

    def _command(self, count: int) -> Iterator[str | int]:
        yield from ("XREADGROUP", "GROUP", self._name, self._consumer, "COUNT", count)

    def _asked(self, *command: str | bytes | int) -> Any:
        return self._checked(self._client.ask(*command))

    def _checked(self, reply: Reply) -> Any:
        if isinstance(reply, ResponseError):
            text = str(reply)
            gone = "NOGROUP" in text or "no such key" in text
            raise GroupGone(self._client.explain(reply)) if gone else self._client.unavailable(reply)
        return reply
