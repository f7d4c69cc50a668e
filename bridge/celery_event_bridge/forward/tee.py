"""Several sinks as one: an event is decided when all have decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

import msgspec

from celery_event_bridge.contract import Event, Outcome, Sink, SinkUnavailable, Verdict, Watcher
from celery_event_bridge.contract.deadline import Deadline


class _State(msgspec.Struct, eq=False):
    """State of an event that not all sinks have stored."""

    missing: set[int]
    """Sinks, by position, that have neither stored nor refused it."""
    undecided: int = 0
    """Sinks that owe a verdict."""
    retry: str | None = None
    refused: str | None = None


class Tee:
    """Hands each event to every sink, and again only to those that have not stored it."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._opened = [False] * len(sinks)
        self._states: WeakKeyDictionary[Event, _State] = WeakKeyDictionary()
        self.name = "+".join(sink.name for sink in sinks)

    def open(self) -> None:
        """Open all that are not open yet. Raises SinkUnavailable for the first that cannot be."""
        for position, sink in enumerate(self._sinks):
            if not self._opened[position]:
                sink.open()
                self._opened[position] = True

    def send(self, events: Sequence[Event]) -> None:
        """Hand over to the sinks that do not have them."""
        shares: list[list[Event]] = [[] for _ in self._sinks]
        for event in events:
            state = self._states.get(event)
            if state is None:
                state = self._states[event] = _State(set(range(len(self._sinks))))
            state.retry = None
            state.undecided = len(state.missing)
            for position in state.missing:
                shares[position].append(event)
        for sink, share in zip(self._sinks, shares, strict=True):
            if share:
                sink.send(share)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Return what all sinks together have decided."""
        deadline = Deadline(timeout)
        decided: list[Event] = []
        while True:
            for position, sink in enumerate(self._sinks):
                for verdict in sink.verdicts(0.0):
                    decided += self._take(position, verdict)
            remaining = deadline.left()
            if decided or remaining <= 0:
                return list(self._verdicts(decided))
            time.sleep(min(remaining, 0.001))

    def available(self) -> None:
        """Ask whether all are."""
        self._ask_each(lambda sink: sink.available())

    def look(self) -> None:
        """Let each that watches look."""
        self._ask_each(lambda sink: sink.look() if isinstance(sink, Watcher) else None)

    def _ask_each(self, question: Callable[[Sink], None]) -> None:
        reasons = []
        for sink in self._sinks:
            try:
                question(sink)
            except SinkUnavailable as exc:
                reasons.append(f"{sink.name}: {exc}")
        if reasons:
            raise SinkUnavailable("; ".join(reasons))

    def close(self) -> None:
        """Close all."""
        for sink in self._sinks:
            sink.close()
        self._opened = [False] * len(self._sinks)

    def _take(self, position: int, verdict: Verdict) -> list[Event]:
        """Take note of one sink's verdict; returns the events that are decided by it."""
        decided = []
        for event in verdict.events:
            state = self._states[event]
            if verdict.outcome is Outcome.RETRY:
                state.retry = verdict.reason
            else:
                state.missing.discard(position)
                if verdict.outcome is Outcome.REFUSED:
                    state.refused = f"{self._sinks[position].name}: {verdict.reason}"
            state.undecided -= 1
            if not state.undecided:
                decided.append(event)
        return decided

    def _verdicts(self, decided: Iterable[Event]) -> Iterable[Verdict]:
        groups: dict[tuple[Outcome, str], list[Event]] = {}
        for event in decided:
            state = self._states[event]
            if state.retry is not None:
                groups.setdefault((Outcome.RETRY, state.retry), []).append(event)
                continue
            del self._states[event]
            outcome = Outcome.STORED if state.refused is None else Outcome.REFUSED
            groups.setdefault((outcome, state.refused or ""), []).append(event)
        for (outcome, reason), events in groups.items():
            yield Verdict(outcome, events, reason)
