"""Notices: what others have changed, and what was dropped, removed, parked, waited for or made anew.

Each is logged at once, and what comes after it once its interval is over, with how often it has come since; all are
counted, in
`celery_bridge_notices_total{kind}`. Sinks, readers and brokers tell of them here, so that nobody logs by hand what may
come a thousand times a second, and nothing is passed over in silence. Logged through the standard library: a reader
lives in other people's applications.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

KINDS: Mapping[str, str] = {
    "gap": "the exchange, its binding or a queue was missing, and events may have passed by",
    "dropped": "messages were dropped for want of room, which nobody else keeps",
    "silence": "a silence ended as the binding was declared again: it may have been removed, or nothing was published",
    "queue-made": "a queue that had been there was made anew",
    "queue-declared": "a queue was not there at the start and was declared",
    "moved": "`queues migrate` moves, or has moved, the queue of this bridge to another name",
    "queue-missing": "a queue is not there, and the bridge cannot declare it",
    "secret-file": "a secret's file cannot be read again, or holds nothing valid",
    "purged": "messages are gone from overflow that no bridge has taken",
    "nearly-full": "a queue has come near its bound, past which messages are dropped or refused",
    "queue-differs": "a queue of ours has other arguments than the settings ask for",
    "rights": "a right that is needed was refused or withdrawn",
    "policy": "a policy of the broker changes what a queue keeps",
    "alarm": "the broker takes no events, by a memory or disk alarm",
    "feature-flag": "a feature of the broker is off, without which a queue loses what expires",
    "left-behind": "messages wait at another broker of BRIDGE_BROKER_URL, where nobody consumes them",
    "competitor": "somebody else, or a deployment with another sink or other settings, takes events off the same queue",
    "no-events": "no event has come for a minute",
    "no-task-events": "workers send events, and none of a task has come for a minute",
    "filter": "a pattern of BRIDGE_EVENT_TYPES matches no Celery type",
    "all-filtered": "BRIDGE_EVENT_TYPES has left out every event since the start",
    "parked": "messages were parked",
    "unparkable": "messages wait that can be neither forwarded nor parked",
    "stream-made": "the stream was not there and was made",
    "topic-down": "one topic of several stores nothing, while the others do",
    "stream-down": "one stream of several stores nothing, while the others do",
    "stream-replaced": "the stream, or the file, is another one than before",
    "stream-shrunk": "events are gone from the stream that were there before",
    "stored-again": "events that the stream took for stored already were gone, and were written again",
    "removed": "events were removed from the stream by a retention or a trim of ours",
    "skipped": "events were gone before a group of readers came to them",
    "group-made": "a group of readers was removed or set elsewhere by somebody, and is where its reader was again",
    "group-gone": "a group of readers is gone, and what it had not acknowledged is kept for an hour",
    "clock": "a clock has jumped, or differs from another",
    "log-growing": "the write-ahead log of the file grows, as a reader holds a snapshot",
    "waiting": "waited for another one who holds what is needed",
    "stream-advice": "the stream is set up so that it may lose what it has confirmed",
}
"""Each kind, and what it means. Others may be told of too; these are counted from the start, at 0."""
INTERVAL = 60.0
"""Seconds between two lines on the same matter."""
MOST_SUBJECTS = 1000
"""Matters remembered; past it the oldest may be told of again too early."""


class _Line(msgspec.Struct):
    """Line that is due later, as the last one on its matter is too fresh."""

    text: str
    level: int
    logger: str
    due: float
    """By the monotonic clock."""


class _Matter(msgspec.Struct):
    """A kind of notice on one subject."""

    said: str
    said_at: float
    unsaid: int = 0
    last: _Line | None = None
    """The newest of those that are unsaid."""


class Notices:
    """Says and counts. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._matters: dict[tuple[str, str], _Matter] = {}
        self._counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._rest_due = 0.0
        """Time when the rest is looked through again, by the monotonic clock."""

    def tell(
        self,
        kind: str,
        text: str,
        *,
        subject: str = "",
        count: int = 1,
        seconds: float = 0.0,
        every: float = INTERVAL,
        level: int = logging.WARNING,
        logger: str = "celery_event_bridge",
    ) -> bool:
        """Count `count` of this kind, and log `text` unless that kind and subject was logged within `every` seconds.

        `text` says what happened, to what, and what to do; no secret may be in it. `seconds`: how long it lasted, where
        that is known. Returns whether it was logged.
        """
        now = self.clock()
        with self._lock:
            self._counts[kind] += count
            self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds
            matter = self._matters.get((kind, subject))
            if matter is not None and now - matter.said_at < every:
                matter.unsaid += count
                if count:
                    matter.last = _Line(text, level, logger, matter.said_at + every)
                return False
            total = count + (matter.unsaid if matter else 0)
            self._matters.pop((kind, subject), None)
            self._matters[kind, subject] = _Matter(text, now)
            if len(self._matters) > MOST_SUBJECTS:
                del self._matters[next(iter(self._matters))]
        _log(_Line(text, level, logger, now), kind, total, several=total > count)
        return True

    def tell_rest(self, *, at_the_end: bool = False) -> None:
        """Log what came too soon after its last line, if it is time to.

        `at_the_end` all that is due within INTERVAL and says something else than that line. Called again and again by
        whoever loops; looks through it once a second.
        """
        now = self.clock()
        if now < self._rest_due and not at_the_end:
            return
        self._rest_due = now + 1.0
        rest: list[tuple[str, _Matter, _Line]] = []
        with self._lock:
            for (kind, subject), matter in self._matters.items():
                line = matter.last
                if line is None or (at_the_end and line.text == matter.said):
                    continue
                if line.due <= now + (INTERVAL if at_the_end else 0.0):
                    self._matters[kind, subject] = _Matter(line.text, now)
                    rest.append((kind, matter, line))
        for kind, matter, line in rest:
            _log(line, kind, matter.unsaid, several=matter.unsaid > 1)

    def over(self, kind: str, text: str, *, subject: str = "", logger: str = "celery_event_bridge") -> bool:
        """Log at info that a matter has been put right, if it had been told of. Returns whether it had."""
        with self._lock:
            matter = self._matters.pop((kind, subject), None)
        if matter is None:
            return False
        logging.getLogger(logger).info("%s", text, extra={"kind": kind})
        return True

    def counts(self) -> Mapping[str, int]:
        """Notices so far, by kind; every kind of KINDS is there."""
        with self._lock:
            return dict(self._counts)

    def seconds(self, kind: str) -> float:
        """Return how long what was told of this kind lasted, summed, where that is known."""
        with self._lock:
            return self._seconds.get(kind, 0.0)

    def clear(self) -> None:
        """Forget everything, as a test does before it begins."""
        with self._lock:
            self._matters.clear()
            self._counts = Counter(dict.fromkeys(KINDS, 0))
            self._seconds.clear()


def _log(line: _Line, kind: str, count: int, *, several: bool) -> None:
    more = f" ({count} since the last line on it)" if several else ""
    # A file's name need not be UTF-8, and a handler of somebody else's may be able to write nothing but.
    text = line.text.encode(errors="backslashreplace").decode()
    logging.getLogger(line.logger).log(line.level, "%s%s", text, more, extra={"kind": kind, "count": count})


NOTICES = Notices()
"""The one of this process."""
tell = NOTICES.tell
over = NOTICES.over
tell_rest = NOTICES.tell_rest
