"""A connection to Redis that a test writes the answers of, and a clock that it sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import msgspec

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.address import Names
from celery_event_bridge.brokers.redis.control import Control


class SetClock:
    """Clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


class WrittenLink:
    """See `celery_event_bridge.brokers.redis.link.Link`. What is published here is heard here, as Redis has it."""

    where = "a test"

    def __init__(self, clock: SetClock, names: Names, run: str) -> None:
        self._clock = clock
        self._names = names
        self.run = run
        self.looks: list[Sequence[Any]] = []
        """Arguments of each call of the script."""
        self.holder = ""
        self.record: Sequence[object] = [""] * 9
        """Owner, at, mark, events, run, location, the last renewal, who said `at`, and the gaps that wait."""
        self.stands_still = 0.0
        """Seconds for which the process is stopped while it reads."""
        self.is_deaf = self.refuses = self.keeps_again = False
        """True where nothing is heard, the script is refused, or what is published again is not heard."""
        self.refuses_messages = self.takes_no_writes = False
        self.words: list[Control] = []
        """Marks that were published."""
        self.again: list[bytes] = []
        """Events that were published again."""
        self.early: list[bytes] = []
        """Events that arrive while it subscribes."""
        self.answer: Callable[[Control], None] = lambda _: None
        """Called with each mark, once it is on its way back."""
        self._arrived: list[Any] = []

    def send(self, *command: Any) -> None:
        if command[0] == "PUBLISH" and self.refuses_messages:
            self._arrived.append((hiredis.ReplyError("NOPERM no channel"),))
            return
        if command[0] == "PUBLISH":
            if command[1] == self._names.control:
                self.words.append(msgspec.json.decode(command[2], type=Control))
            else:
                self.again.append(command[2])
                if self.keeps_again:
                    self._arrived.append((1,))
                    return
            self._arrived += [] if self.is_deaf else [[b"message", command[1], command[2]]]
            self._arrived.append((0 if self.is_deaf else 1,))
            if command[1] == self._names.control:
                self.answer(self.words[-1])
            return
        self.looks.append(command[5:])
        owner, _, action = command[5:8]
        held = self.holder
        if self.takes_no_writes:
            pass
        elif action in ("release", "leave") and self.holder == owner:
            self.holder = ""
        elif action == "take" and not self.holder:
            self.holder = owner
        reply = (self.holder, 1, round(self._clock.now * 1000), *self.record)
        error = hiredis.ReplyError("MISCONF no disk" if self.takes_no_writes else "NOPERM no script")
        writes = action != "look" and self.takes_no_writes and (not held or held == owner)
        self._arrived.append((error if self.refuses or writes else [str(part).encode() for part in reply],))

    def say(self, word: Control) -> None:
        """Let another replica's word arrive."""
        self._arrived.append([b"message", self._names.control, msgspec.json.encode(word)])

    def overhear(self, data: bytes) -> None:
        """Let anything arrive on the replicas' channel."""
        self._arrived.append([b"message", self._names.control, data])

    def pass_on(self, payload: bytes) -> None:
        """Let an event arrive that another replica has published again."""
        self._arrived.append([b"message", self._names.again, payload])

    def publish(self, *bodies: bytes) -> None:
        """Let events arrive."""
        self._arrived += [sealed(body, "application/json", {}, "celeryev", "task.sent") for body in bodies]

    def subscribe(self, _: object, __: object, on_event: Callable[[bytes], None]) -> None:
        """Let what is early arrive before it is answered."""
        for each in self.early:
            on_event(each)

    def read(
        self, timeout: float, on_event: Callable[[bytes], None], on_other: Callable[[list[Any]], None]
    ) -> list[Any]:
        self._clock.now += self.stands_still
        arrived, self._arrived = self._arrived, []
        replies = []
        for each in arrived:
            if isinstance(each, bytes):
                on_event(each)
            elif isinstance(each, list):
                on_other(each)
            else:
                replies.append(each[0])
        if not arrived:
            self._clock.now += timeout
        return replies

    def ask(self, *_: object) -> bytes:
        return b"run_id:" + self.run.encode()

    def close(self) -> None:
        """Do nothing."""


class ListLink(WrittenLink):
    """One that has the list of what was parked, and passes on what is sent again."""

    def __init__(self, clock: SetClock, names: Names, elements: list[bytes]) -> None:
        super().__init__(clock, names, "r")
        self.elements = elements
        self.before_a_page: Callable[[], None] = lambda: None
        """Called before a page is read: somebody else is at the list, too."""

    def ask(self, *command: Any) -> Any:
        if command[0] == "EVAL":
            return b"".join(hashlib.sha1(each).hexdigest().encode() for each in self.elements)
        if command[0] == "LRANGE":
            self.before_a_page()
            return self.elements[command[2] : command[3] + 1]
        if command[0] == "PUBSUB":
            return [command[2], 1]
        if command[0] == "DEL":
            return 1
        assert command[0] == "LREM"
        removed = min(command[2], self.elements.count(command[3]))
        for _ in range(removed):
            self.elements.remove(command[3])
        return removed
