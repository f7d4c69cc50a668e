"""A consumer group of Redis's, over the streams of one reader: join, commit, take over from the dead, leave.

A reader is one consumer with a name of its own. It is dead when Redis has not heard of it for the lease; what it held
is then claimed. Redis itself lets anyone acknowledge anything, so a commit is a script that acknowledges only what is
still this consumer's: what a survivor has claimed meanwhile is left to it.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import Command, RedisClient, Reply

RELEASED = b"released"
"""The consumer that holds what readers have left behind when they closed; everybody takes from it."""
CHUNK = 1000
"""Entries for one command; a script cannot take many more as arguments."""
NEVER = f"{2**64 - 1}-{2**64 - 2}"
"""Of what this consumer holds nothing comes after it. One more would mean `>` to Redis, which is new entries."""
LONG_AGO = 2**40
"""Milliseconds that what was released counts as idle: longer than any reader's lease."""
LONG_GONE = 10
"""Leases after which a consumer that holds nothing is removed."""

COMMIT = """
local mine = {}
for _, held in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[2])) do
    mine[held[1]] = true
end
local done = {}
for i = 6, #ARGV do if mine[ARGV[i]] then done[#done + 1] = ARGV[i] end end
if #done == 0 then return 0 end
return redis.call('XACK', KEYS[1], ARGV[1], unpack(done))
"""
LEAVE = """
while true do
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])
    if #held == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
    local command = {'XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0}
    for _, entry in ipairs(held) do command[#command + 1] = entry[1] end
    command[#command + 1] = 'IDLE'
    command[#command + 1] = ARGV[4]
    command[#command + 1] = 'JUSTID'
    redis.call(unpack(command))
end
"""
REMOVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
"""

Place = tuple[int, int]
"""An entry's id: milliseconds since 1970, and a number."""
Found = list[tuple[bytes, list[tuple[Place, list[bytes]]]]]
"""By stream: the entries' places and fields."""


class RedisGroup:
    """One reader's part in a group. Each method raises SinkUnavailable."""

    def __init__(self, client: RedisClient, name: str, lease: float) -> None:
        self._client = client
        self._name = name
        self._lease = max(1, round(lease * 1000))
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._held: dict[bytes, set[Place]] = {}
        """What this consumer holds and has handed out."""

    def join(self, stream: bytes, after: str) -> bytes:
        """Make the group if need be, to begin after this entry; returns the last one that it has delivered."""
        reply = self._client.ask("XGROUP", "CREATE", stream, self._name, after, "MKSTREAM")
        if isinstance(reply, ResponseError) and "BUSYGROUP" not in str(reply):
            raise SinkUnavailable(self._client.explain(reply))
        groups = [_fields(group) for group in self._asked("XINFO", "GROUPS", stream)]
        mine = next(group for group in groups if group[b"name"] == self._name.encode())
        return bytes(mine[b"last-delivered-id"])

    def read(self, streams: Sequence[bytes], count: int, block: int | None) -> Found:
        """New entries for this consumer."""
        wait = () if block is None else ("BLOCK", block)
        reply = self._asked(*self._command(count), *wait, "STREAMS", *streams, *[">"] * len(streams))
        return _found(reply)

    def read_again(self, stream: bytes) -> Found:
        """What Redis has given this consumer and a lost connection has kept from it."""
        held = self._held.get(stream, set())
        found: Found = []
        after = b"0-0"
        while True:
            ((_, entries),) = self._asked(*self._command(CHUNK), "STREAMS", stream, after)
            missed = [[entry, fields] for entry, fields in entries if place(entry) not in held]
            found += _found([[stream, missed]])
            if len(entries) < CHUNK:
                return found
            after = entries[-1][0]

    def hand_out(self, found: Found) -> None:
        """These are handed out from now on; what is held beside them was missed."""
        for stream, entries in found:
            self._held.setdefault(stream, set()).update(one for one, _ in entries)

    def live(self, streams: Sequence[bytes]) -> None:
        """Be heard of. Before Redis 7.2 a consumer that waits, and gets nothing, is not."""
        self._asked(*self._command(1), "STREAMS", *streams, *[NEVER] * len(streams))

    def take_over(self, stream: bytes, limit: int) -> Found:
        """Up to so many entries of consumers that are dead."""
        consumers = [_fields(one) for one in self._asked("XINFO", "CONSUMERS", stream, self._name)]
        found: Found = []
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
        """Whether one that was not heard of for these seconds, and so may be dead, holds an entry up to this one."""
        consumers = map(_fields, self._asked("XINFO", "CONSUMERS", stream, self._name))
        silent = [
            one[b"name"]
            for one in consumers
            if one[b"pending"]
            and one[b"name"] != self._consumer.encode()
            and (one[b"name"] == RELEASED or one[b"idle"] >= waited * 1000)
        ]
        return any(self._asked("XPENDING", stream, self._name, "-", _entry(end), 1, name) for name in silent)

    def commit(self, stream: bytes, places: Sequence[Place]) -> bool:
        """Acknowledge those that are this consumer's; whether all were."""
        held = self._held.setdefault(stream, set())
        commands: list[Command] = []
        for first in range(0, len(places), CHUNK):
            some = places[first : first + CHUNK]
            bounds = (_entry(min(some)), _entry(max(some)), len(held) + CHUNK)
            commands.append(
                ("EVAL", COMMIT, 1, stream, self._name, self._consumer, *bounds, *[_entry(one) for one in some])
            )
        replies, lost = self._client.exchange(commands)
        if lost is not None:
            raise lost
        for reply in replies:
            if isinstance(reply, Exception) and "NOGROUP" not in str(reply):
                raise SinkUnavailable(self._client.explain(reply))
        held.difference_update(places)
        return all(isinstance(reply, int) for reply in replies) and sum(replies) == len(places)

    def leave(self, stream: bytes) -> None:
        """Hand on what is held, and be no consumer any more."""
        self._asked("EVAL", LEAVE, 1, stream, self._name, self._consumer, RELEASED, LONG_AGO)
        self._held.pop(stream, None)

    def _claim(self, stream: bytes, consumer: bytes, limit: int) -> Found:
        pending = self._asked("XPENDING", stream, self._name, "IDLE", self._lease, "-", "+", limit, consumer)
        if not pending:
            return []
        # Of two that claim the same the first one has it: it is idle no longer for the second.
        claimed = self._asked("XCLAIM", stream, self._name, self._consumer, self._lease, *[one[0] for one in pending])
        return _found([[stream, claimed]])

    def _command(self, count: int) -> Iterator[str | int]:
        yield from ("XREADGROUP", "GROUP", self._name, self._consumer, "COUNT", count)

    def _asked(self, *command: str | bytes | int) -> Any:
        reply = self._client.ask(*command)
        if isinstance(reply, ResponseError):
            raise SinkUnavailable(self._client.explain(reply))
        return reply


def _found(reply: Reply) -> Found:
    # One that was trimmed comes without its fields, or as nothing: there is nothing to hand out.
    return [
        (stream, [(place(one[0]), one[1]) for one in entries if one is not None and one[1] is not None])
        for stream, entries in reply or ()
    ]


def place(entry: bytes) -> Place:
    """An entry's id as numbers, which compare."""
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)


def _entry(one: Place) -> bytes:
    return b"%d-%d" % one


def _fields(reply: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))
