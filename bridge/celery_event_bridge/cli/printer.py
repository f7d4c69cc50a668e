"""Printing of events, a line each, on a terminal or into a pipe."""

from __future__ import annotations

import datetime
import heapq
import select
from collections.abc import Callable, Iterable
from typing import TextIO

from celery_event_bridge.cli.lines import Lines
from celery_event_bridge.cli.output import discard
from celery_event_bridge.reader import Events, StoredEvent

BLOCK = 200
"""Lines that are written at a time, while there are more."""


class Printer:
    """Writes the lines of the events that are wanted: at once, or at the end the last `count` of them."""

    def __init__(self, output: TextIO, lines: Lines, *, reverse: bool, count: int | None) -> None:
        self._output = output
        self._lines = lines
        self._reverse = reverse
        self._count = count
        self._kept: list[tuple[float, int, str]] | None = [] if reverse or count else None
        """Time of storing, number and line of those that are not written yet, as a heap: where there are enough, the
        oldest of them goes for a newer one, from whatever partition. None where each is written at once.
        """
        self._waiting: list[str] = []
        self._colour = output.isatty()
        self.matched = 0
        self.printed = 0
        self.gone = 0
        """Records that were gone from the stream before they were read, at least."""

    def read(self, events: Events, *, follow: bool = False) -> int:
        """Print what comes, until the end, a signal, or until nobody reads it any more; return how many were read.

        With `follow` what is kept is written once all was read that was there at the start.
        """
        began = datetime.datetime.now(datetime.UTC)
        read = 0

        def idle() -> None:
            if follow:
                self._release()
            self.flush(events.stop)

        events.idle = idle
        self._lines.names.look_into(events.before)
        try:
            for event in events:
                read += 1
                if follow and event.stored is not None and event.stored >= began:
                    self._release()
                self.take(event)
                # Whole blocks into a pipe while there is more at once, and each event at once where there is not.
                if len(self._waiting) >= BLOCK or events.in_hand == 0:
                    self.flush(events.stop)
        except BrokenPipeError:
            discard(self._output)
        self.gone += events.skipped
        return read

    def forget(self) -> None:
        """Begin again: the same events will be read, and some before them."""
        self.matched = self._lines.nameless = 0
        if self._kept is not None:
            self._kept.clear()

    def kept(self) -> list[str]:
        """Return the lines that are not written yet, the oldest first."""
        return [line for *_, line in sorted(self._kept or ())]

    def end(self) -> None:
        """Write what was kept, the newest first if it was asked for."""
        kept = self.kept()
        try:
            self._write(reversed(kept) if self._reverse else kept)
            self.flush()
        except BrokenPipeError:
            discard(self._output)

    def _release(self) -> None:
        """Write what was kept, and from now on each at once."""
        kept, self._kept = self.kept(), None
        self._write(kept)

    def take(self, event: StoredEvent) -> None:
        """Print one event, if it is wanted."""
        line = self._lines.line(event, colour=self._colour)
        if line is None:
            return
        self.matched += 1
        if self._kept is None:
            self._write([line])
            return
        when = event.stored or event.time
        one = (when.timestamp() if when else 0.0, self.matched, line)
        if self._count is not None and len(self._kept) >= self._count:
            heapq.heappushpop(self._kept, one)
        else:
            heapq.heappush(self._kept, one)

    def _write(self, lines: Iterable[str]) -> None:
        before = len(self._waiting)
        self._waiting += [f"{line}\n" for line in lines]
        self.printed += len(self._waiting) - before

    def flush(self, stop: Callable[[], None] | None = None) -> None:
        """Write out what waits; where nothing does, call `stop` if nobody reads it any more. Raises BrokenPipeError."""
        text = "".join(self._waiting)
        self._waiting.clear()
        if text:
            self._output.write(text)
            self._output.flush()
        elif stop is not None and _nobody_reads(self._output.fileno()):
            stop()


def _nobody_reads(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))
