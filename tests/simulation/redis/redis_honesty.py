"""The same commands to a Redis that runs and to the model of it: `python -m tests.simulation.redis.redis_honesty`.

A schedule is some dozens of the commands that a bridge sends, right ones and wrong ones, on two keys. The answers are
compared one by one: an entry's id by its place among the ids, a description by the fields that the model has. Not
compared is a trim that Redis makes about (`~`): the model removes as much as Redis may at most.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import hiredis

from tests.simulation.redis.redis_server import RedisServer, Session
from tests.simulation.scheduler import World
from tests.support.servers import newer_redis, redis

ENTRY = re.compile(rb"\d+-\d+")
KEYS = (b"one", b"two")
LENGTH = 60
"""Commands of a schedule."""
NEWEST = (8, 6)
"""First version of Redis that drops duplicates."""

Command = list[bytes]


class Side(Protocol):
    """One of the two."""

    def ask(self, words: Command) -> Any:
        """Send a command and return the answer, an error as hiredis has it."""


class _Line:
    """End of a connection that keeps what is sent."""

    open = True
    extra = 0.0

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def reset(self) -> None:
        self.open = False


class Modelled:
    """The model's side."""

    def __init__(self, *, idempotent: bool) -> None:
        server = RedisServer(World("honesty"), lambda *_: None)
        server.idempotent, server.counts_added, server.password = idempotent, True, b""
        self._line: Any = _Line()
        self._session = Session(server, self._line)

    def ask(self, words: Command) -> Any:
        self._line.sent = b""
        self._session.received(packed(words))
        return answer(self._line.sent)


class Real:
    """The side of a server that runs. Its database is emptied first."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._reader = hiredis.Reader()
        self.ask([b"FLUSHALL"])

    def ask(self, words: Command) -> Any:
        self._socket.sendall(packed(words))
        while (found := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        return found

    def version(self) -> tuple[int, ...]:
        """Return the server's."""
        found = re.search(rb"redis_version:(\d+)\.(\d+)", self.ask([b"INFO", b"server"]))
        assert found, "a version"
        return int(found[1]), int(found[2])

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def packed(words: Command) -> bytes:
    """Return a command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def answer(data: bytes) -> Any:
    """Return the one answer that these bytes are."""
    reader = hiredis.Reader()
    reader.feed(data)
    return reader.gets()


class Schedule:
    """Commands drawn from a seed. Some name an entry by its number, of those that the side was given."""

    def __init__(self, seed: int, *, idempotent: bool) -> None:
        self._draw = random.Random(f"redis honesty {seed}")
        self._idempotent = idempotent
        self._number = 0
        self.commands = [self._command() for _ in range(LENGTH)]

    def _command(self) -> tuple[Command, float]:
        """Return a command, and which of the ids takes the place of ENTRY in it."""
        draw = self._draw
        key, group = draw.choice(KEYS), draw.choice((b"g", b"h"))
        self._number += 1
        fields = [b"id", b"%032x" % self._number, b"source", b"w1", b"data", b"%d" % self._number]
        once = [b"IDMP", b"w1", b"%d" % draw.randrange(6)] if self._idempotent else []
        configured = [b"XCFGSET", key, b"IDMP-DURATION", b"86400", b"IDMP-MAXSIZE", draw.choice((b"100", b"1000"))]
        choices: Sequence[tuple[int, Command]] = (
            (8, [b"XADD", key, b"*", *fields]),
            (8 if once else 0, [b"XADD", key, *once, b"*", *fields]),
            (1, [b"XADD", key, *once, b"0-0", *fields]),
            (1, [b"XADD", key, *once, b"nonsense", *fields]),
            (2, [b"XLEN", key]),
            (3, [b"XRANGE", key, b"ENTRY", b"ENTRY"]),
            (3, [b"XTRIM", key, b"MINID", b"=", b"ENTRY"]),
            (3, [b"XINFO", b"STREAM", key]),
            (2, [b"XINFO", b"GROUPS", key]),
            (1, [b"XGROUP", b"CREATE", key, group, b"$", b"MKSTREAM"]),
            (1, [b"XGROUP", b"DESTROY", key, group]),
            (1 if once else 0, configured),
            (1, [b"TTL", key]),
            (1, [b"PERSIST", key]),
            (1, [b"PING"]),
            (1, [b"NOSUCH", key]),
        )
        weights, commands = zip(*choices, strict=True)
        return draw.choices(commands, weights)[0], draw.random()


def seen(schedule: Schedule, side: Side) -> list[Any]:
    """Play a schedule; return the answers, in a form that can be compared."""
    ids: dict[bytes, dict[bytes, int]] = {key: {} for key in KEYS}
    found = []
    for words, much in schedule.commands:
        of_key = next((ids[word] for word in words if word in ids), {})
        named = [*of_key] or [b"1-1"]
        given = [named[int(much * len(named))] if word == b"ENTRY" else word for word in words]
        found.append(plain(side.ask(given), of_key))
    return found


def plain(reply: Any, ids: dict[bytes, int]) -> Any:
    """Return an answer with each id as its number, and an error by its text."""
    if isinstance(reply, list):
        return [plain(one, ids) for one in reply]
    if isinstance(reply, hiredis.ReplyError):
        return f"error: {reply}"
    if isinstance(reply, bytes) and ENTRY.fullmatch(reply):
        return f"entry {ids.setdefault(reply, len(ids))}" if reply != b"0-0" else "no entry"
    return reply


def alike(real: Any, model: Any, words: Command) -> bool:
    """Return whether two answers say the same, as far as the model says anything."""
    if words[0] == b"XINFO" and isinstance(real, list) and isinstance(model, list):
        if words[1] == b"GROUPS":
            return sorted(names(real)) == sorted(names(model))
        fields, told = fields_of(real), fields_of(model)
        return all(fields.get(name) == value for name, value in told.items())
    if words[0] == b"NOSUCH":  # whose arguments a server repeats
        return str(real).startswith("error: ") and str(real)[:40] == str(model)[:40]
    return bool(real == model)


def names(groups: Sequence[Any]) -> list[Any]:
    """Return the names of groups."""
    return [fields_of(group)[b"name"] for group in groups]


def fields_of(flat: Sequence[Any]) -> dict[Any, Any]:
    """Return names and values that stand in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def difference(real: Real, seed: int) -> str:
    """Return how the two differ in one schedule, or nothing."""
    idempotent = real.version() >= NEWEST
    real.ask([b"FLUSHALL"])
    schedule = Schedule(seed, idempotent=idempotent)
    pairs = zip(seen(schedule, real), seen(schedule, Modelled(idempotent=idempotent)), strict=True)
    for number, ((one, other), (words, _)) in enumerate(zip(pairs, schedule.commands, strict=True)):
        if not alike(one, other, words):
            return f"seed {seed}, command {number}, {b' '.join(words).decode()}:\n  real  {one}\n  model {other}"
    return ""


def main() -> int:
    """Print what differs; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.redis.redis_honesty", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="schedules (300)")
    options = parser.parse_args()
    worst = 0
    for start in (redis, newer_redis):
        with start() as server:
            real = Real("127.0.0.1", int(server.url.rpartition(":")[2].partition("/")[0]))
            differing = [one for seed in range(options.count) if (one := difference(real, seed))]
            print(*differing[:5], sep="\n")
            version = ".".join(map(str, real.version()))
            print(f"Redis {version}: {options.count} schedules of {LENGTH} commands, {len(differing)} differ")
            worst |= bool(differing)
            real.close()
    return worst


if __name__ == "__main__":
    sys.exit(main())
