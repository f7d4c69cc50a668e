"""Entries that a consumer of a group has in hand, and what becomes of them where others take the group or stream away.

Where the group was destroyed, what is in hand is released, to be handed out again: to Redis nobody had read it. What is
not in the stream any more stays in hand, for nobody else can have it, until a stream that was renamed away is back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

from celery_event_sinks.redis.extent import Place, entry_of, place
from celery_event_sinks.redis.position import tell
from celery_event_sinks.redis.scripts import RESTORE

RELEASED = b"released"
"""The consumer that holds what readers have left behind when they closed; everybody takes from it."""
LONG_AGO = 2**40
"""Milliseconds that what was released counts as idle: longer than any reader's lease."""
CHUNK = 1000
"""Entries for one command; a script cannot take many more as arguments."""


class InHand:
    """Entries by stream. Methods that ask Redis raise what `ask` raises."""

    def __init__(self, ask: Callable[..., Any], group: str, consumer: str) -> None:
        """`ask` sends a command."""
        self._ask = ask
        self._group = group
        self._consumer = consumer
        self._held: dict[bytes, set[Place]] = {}
        """Entries that this consumer holds and has handed out."""
        self._gone: dict[bytes, set[Place]] = {}
        """Entries in hand that are not in the stream any more, so that nobody else can have them."""
        self._settled: dict[bytes, set[Place]] = {}
        """Entries that were committed while they were not in the stream."""
        self.releases: Counter[bytes] = Counter()
        """Number of times that what was held was released, by stream."""
        self.released = False
        """True if what was held was released, since somebody has set it back."""

    def __bool__(self) -> bool:
        return any(self._held.values())

    def held(self, stream: bytes) -> set[Place]:
        """Return what is held and handed out, to be added to."""
        return self._held.setdefault(stream, set())

    def streams(self) -> list[bytes]:
        """Return those of which something is held."""
        return [stream for stream, held in self._held.items() if held]

    def drop(self, stream: bytes) -> None:
        """Forget what is held: it is handed on."""
        self._held.pop(stream, None)

    def gone(self, stream: bytes, places: Collection[Place]) -> int:
        """Return how many of these are not in the stream any more."""
        gone = self._gone.get(stream)
        return len(gone.intersection(places)) if gone else 0

    def committed(self, stream: bytes, places: Collection[Place]) -> None:
        """Take note that these are handled. Those that are gone are acknowledged if their stream is back."""
        self.held(stream).difference_update(places)
        if gone := self._gone.get(stream, set()).intersection(places):
            self._gone[stream] -= gone
            self._settled.setdefault(stream, set()).update(gone)

    def regain(self, stream: bytes) -> bool:
        """Release what is held where it is nobody's any more, with all that says who holds what."""
        held = self._held.get(stream)
        if not held:
            return False
        oldest = entry_of(min(held))
        if self._ask("XPENDING", stream, self._group, oldest, oldest, 1):
            return False
        self.release(stream, "has lost what this reader holds (XGROUP DELCONSUMER, or XACK by somebody)")
        return True

    def release(self, stream: bytes, what: str) -> None:
        """Let everybody take what this consumer has in hand: whether it is handled nobody can say any more."""
        held = self._held.pop(stream, set()) | self._gone.pop(stream, set())
        again = self._restore(stream, held)
        if again or not held:
            self.releases[stream] += 1
            self.released = True
        else:
            self._gone[stream] = held
        text = f"; {again} entries in hand are handed out again" if again else ""
        if again < len(held):
            text += f"; {len(held) - again} entries in hand are not in the stream any more"
        tell(self._group, stream, what + text)

    def come_back(self, stream: bytes) -> int:
        """Look for what was gone, as a stream that was renamed away may be back; returns how many were acknowledged.

        What this consumer holds there is in hand as before, or acknowledged where it was committed meanwhile. Where
        nobody holds it, all is released.
        """
        gone, settled = self._gone.get(stream, set()), self._settled.get(stream, set())
        sought = gone | settled
        if not sought:
            return 0
        first, last = entry_of(min(sought)), entry_of(max(sought))
        if not self._ask("XRANGE", stream, first, last, "COUNT", 1):
            return 0
        mine, others = set[Place](), set[Place]()
        for entry, consumer in self._pending(stream, first, last):
            (mine if consumer == self._consumer.encode() else others).add(entry)
        done = settled & mine
        for some in _chunks(done):
            self._ask("XACK", stream, self._group, *some)
        settled -= mine | others
        self.held(stream).update(back := gone & mine)
        elsewhere = gone & others
        gone -= back | elsewhere
        if back or elsewhere or done:
            tell(
                self._group,
                stream,
                f"is back with its stream (RENAME, SWAPDB, RESTORE): {len(back)} entries are in hand as before, "
                f"{len(done)} that were committed meanwhile are acknowledged, {len(elsewhere)} are another's",
            )
        if nobodys := self._restore(stream, gone):
            gone.clear()
            self.release(stream, f"is another one, and {nobodys} entries in hand are nobody's there: they come again")
        return len(done)

    def _pending(self, stream: bytes, first: bytes, last: bytes) -> Iterator[tuple[Place, bytes]]:
        while True:
            page = self._ask("XPENDING", stream, self._group, first, last, CHUNK)
            yield from ((place(one[0]), one[1]) for one in page)
            if len(page) < CHUNK:
                return
            first = b"(" + page[-1][0]

    def _restore(self, stream: bytes, entries: Collection[Place]) -> int:
        """Give these to everybody, where they are in the stream and nobody else holds them; returns how many."""
        return sum(
            self._ask("EVAL", RESTORE, 1, stream, self._group, self._consumer, RELEASED, LONG_AGO, *some)
            for some in _chunks(entries)
        )


def _chunks(entries: Collection[Place]) -> Iterator[list[bytes]]:
    ordered = sorted(entries)
    for first in range(0, len(ordered), CHUNK):
        yield [entry_of(one) for one in ordered[first : first + CHUNK]]
