"""Model of Redis: its streams, and sessions that speak RESP 2. What befalls it is in `redis_cards`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import hiredis

from tests.simulation.network import Line
from tests.simulation.promises import Broken
from tests.simulation.redis.redis_commands import (
    COMMANDS,
    OF_STREAMS,
    TAKES_MEMORY,
    WHILE_LOADING,
    WRITES,
    WRONG_TYPE,
)
from tests.simulation.redis.redis_stream import Place, Stored, StreamKey
from tests.simulation.scheduler import EPOCH, World

NOT_WHOLE = object()
DEFAULT_LONGEST = 512 * 1024 * 1024
SMALL = 2_000
"""Bytes of the longest value in worlds whose `proto-max-bulk-len` refuses some events."""
LAG = 0.3
"""Seconds that a replica is behind, at most."""


class RedisServer:
    """One master at a time; a failover puts its replica in its place."""

    def __init__(self, world: World, stored: Callable[[str, bytes], None]) -> None:
        self.world = world
        self._stored = stored
        draw = world.random.random
        self.version = ("6.2", "7.0", "8.6", "8.6")[int(draw() * 4)]
        self.idempotent = self.version == "8.6"
        self.counts_added = self.version != "6.2"
        self.password = b"secret" if draw() < 0.5 else b""
        self.longest = SMALL if draw() < 0.5 else DEFAULT_LONGEST
        self.tells_config = draw() < 0.7
        self.streams: dict[tuple[int, bytes], StreamKey] = {}
        self.sessions: list[Session] = []
        self.copies: Counter[str] = Counter()
        """Entries by the id of the event in them."""
        self._destroyed: dict[str, float] = {}
        """By event: when the last entry went that somebody had been told of, and whose loss is no fault of a bridge."""
        self.promised: set[str] = set()
        """Events that a bridge has called stored."""
        self.up = True
        self.loading = self.oom = self.misconf = self.wrong_type = False
        self.replica_away = False
        self.replica_away_since = 0.0
        self.replicated_until = 0.0
        self.slow = 0.0
        """Seconds that each way takes longer."""
        self.busy_until = 0.0
        """Time until which it serves nobody, though what comes is taken."""
        self.ahead = 0.0
        """Seconds by which its clock is wrong."""
        self.cut_after: list[float] = []
        """Batches to come that are applied up to that part, and whose connection is reset then."""
        self.trickle: list[float] = []
        """Answers to come that take so many seconds, in small pieces."""
        self.spoken_of: Stored | None = None
        """Entry that the present answer is about."""
        self._processes = 0
        self.begin()

    def begin(self) -> None:
        """Begin as another process."""
        self._processes += 1
        self.run_id = hashlib.sha1(f"run {self._processes}".encode(), usedforsecurity=False).hexdigest().encode()
        self.history = hashlib.sha1(b"history", usedforsecurity=False).hexdigest().encode()

    def accept(self, line: Line) -> Session | None:
        """Let a client in."""
        if not self.up:
            return None
        session = Session(self, line)
        self.sessions.append(session)
        return session

    def clock(self) -> float:
        """Return its wall-clock time."""
        return EPOCH + self.world.now + self.ahead

    def milliseconds(self) -> int:
        """Return the same as an entry's id has it."""
        return int(self.clock() * 1000)

    def holds(self, event: str, since: float = -1.0) -> bool:
        """Return whether an event is there, or went after that time and somebody had been told of it."""
        return self.copies[event] > 0 or self._destroyed.get(event, -2.0) >= since

    def store(self, stream: StreamKey, stored: Stored) -> None:
        """Store an entry, which is judged."""
        fields = dict(zip(stored.fields[::2], stored.fields[1::2], strict=True))
        stored.event = fields[b"id"].decode()
        self._stored(stored.event, fields[b"data"])
        producer = fields[b"source"]
        if self.idempotent:
            place = stream.remembered(producer, fields[b"id"], self.world.now)
            assert place is None or place not in stream.entries, f"twice: {stored.event} is at {place} and remembered"
        stream.add(stored)
        self.copies[stored.event] += 1
        self.spoken_of = stored

    def tells_of(self, stream: StreamKey, place: Place) -> None:
        """Take note that an answer is about an entry, which may be gone."""
        self.spoken_of = stream.entries.get(place)

    def destroy(self, gone: Iterable[Stored], how: str, *, excused: bool = True) -> None:
        """Take note of entries that the model has taken away."""
        count = 0
        for stored in gone:
            count += 1
            self.copies[stored.event] -= 1
            if stored.answered and excused:
                self._destroyed[stored.event] = self.world.now
            if not self.copies[stored.event]:
                if stored.event in self.promised and not excused:
                    raise Broken(f"lost: {stored.event} was called stored, and is gone as Redis {how}")
                self.promised.discard(stored.event)
        if count:
            self.world.say("Redis", "loses", count, how)

    def reset_all(self) -> None:
        """End all connections."""
        for session in [*self.sessions]:
            session.line.reset()

    def stop(self) -> None:
        """End the process."""
        self.up = False
        self.reset_all()

    def start(self, loading: float) -> None:
        """Be there again as another process, and read the file for so long."""
        if not self.up:
            self.up = True
            self.begin()
            self.loading = loading > 0
            self.world.after(loading, self._loaded, self.run_id)

    def _loaded(self, run_id: bytes) -> None:
        if run_id == self.run_id:
            self.loading = False

    def lose(self, after: float, how: str, *, excused: bool = True) -> None:
        """Lose what was written after that time."""
        for stream in self.streams.values():
            self.destroy(stream.forget_after(after), how, excused=excused)

    def fail_over(self) -> None:
        """Put the replica in the master's place, which stays as its replica and keeps its connections."""
        self.begin()
        for session in self.sessions:
            session.demoted = True
        self.replica_away = False

    def flush(self, how: str) -> None:
        """Remove all streams."""
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            self.destroy(stream.entries.values(), how)

    def expire(self) -> None:
        """Remove those whose time has come."""
        for key, stream in [*self.streams.items()]:
            if stream.expires is not None and stream.expires <= self.world.now:
                del self.streams[key]
                self.destroy(stream.entries.values(), "EXPIRE")


class Session:
    """A client's connection, seen from Redis."""

    def __init__(self, server: RedisServer, line: Line) -> None:
        self.server = server
        self.line = line
        self.run_id = server.run_id
        self.is_in = not server.password
        self.database = 0
        self.demoted = False
        """True once the master that it was made to is a replica."""
        self._reader = hiredis.Reader(notEnoughData=NOT_WHOLE)
        self._waiting: list[bytes] = []
        self._paused_until = 0.0
        self._over = False
        self.wrote_at = -1.0
        """Time of its last write, which `WAIT` is about."""

    def stream(self, key: bytes) -> StreamKey | None:
        """Return a stream of the present database."""
        return self.server.streams.get((self.database, key))

    def pause(self, seconds: float) -> None:
        """Answer nothing more for so long."""
        self._paused_until = self.server.world.now + seconds

    def received(self, data: bytes) -> None:
        """Take bytes that have arrived, as soon as Redis has time."""
        self._waiting.append(data)
        self._serve()

    def closed(self) -> None:
        """Forget it. What it has sent is served all the same."""
        if self in self.server.sessions:
            self.server.sessions.remove(self)

    def _serve(self) -> None:
        server = self.server
        if server.busy_until > server.world.now:
            server.world.after(server.busy_until - server.world.now, self._serve)
            return
        waiting, self._waiting = self._waiting, []
        # Another process by now knows nothing of what was sent to the one before.
        if waiting and not self._over and (self.run_id == server.run_id or self.demoted):
            self._reader.feed(b"".join(waiting))
            self._answer([*iter(self._reader.gets, NOT_WHOLE)])

    def _answer(self, commands: Sequence[list[bytes]]) -> None:
        server = self.server
        served = told = len(commands)
        if is_cut := bool(server.cut_after) and any(words[0] == b"XADD" for words in commands):
            served = int(server.cut_after.pop() * (len(commands) + 1))
            told = int(server.world.random.random() * (served + 1))
        answers: list[bytes] = []
        about: list[Stored | None] = []
        for words in commands[:served]:
            server.spoken_of = None
            answers.append(self._one(words))
            about.append(server.spoken_of)
            if self._over:
                break
        if is_cut:
            self._over = True
            server.world.after(0.005, self.line.reset)
        for stored in about[:told] if self.line.open else ():
            if stored is not None:
                stored.answered = True
        self._send_soon(b"".join(answers[:told]))

    def _send_soon(self, data: bytes) -> None:
        world = self.server.world
        if self.server.slow:
            self.line.extra = self.server.slow
        if (delay := self._paused_until - world.now) > 0:
            world.after(delay, self._send, data)
        elif data:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if not self.server.trickle:
            self.line.send(data)
            return
        seconds, world = self.server.trickle.pop(), self.server.world
        size = max(1, len(data) // 12)
        for number, first in enumerate(range(0, len(data), size)):
            world.after(seconds * number / 12, self.line.send, data[first : first + size])

    def _one(self, words: list[bytes]) -> bytes:
        server, name = self.server, words[0].upper()
        if max(map(len, words)) > server.longest:
            self._over = True
            server.world.after(0.002, self.line.reset)
            return b"-ERR Protocol error: invalid bulk length\r\n"
        command = COMMANDS.get(name)
        if command is None or (name == b"XCFGSET" and not server.idempotent):
            return b"-ERR unknown command '%b', with args beginning with: \r\n" % words[0]
        if refusal := self._refusal(name):
            return refusal
        server.expire()
        if name in WRITES:
            self.wrote_at = server.world.now
        return command(self, words)

    def _refusal(self, name: bytes) -> bytes:
        server = self.server
        refusals = (
            (not self.is_in and name != b"AUTH", b"-NOAUTH Authentication required."),
            (server.loading and name not in WHILE_LOADING, b"-LOADING Redis is loading the dataset in memory"),
            (server.oom and name in TAKES_MEMORY, b"-OOM command not allowed when used memory > 'maxmemory'."),
            (server.misconf and name in WRITES, b"-MISCONF Errors writing to the AOF file: No space left on device"),
            (self.demoted and name in WRITES, b"-READONLY You can't write against a read only replica."),
            (server.wrong_type and name in OF_STREAMS, WRONG_TYPE),
        )
        return next((text.strip() + b"\r\n" for holds, text in refusals if holds), b"")
