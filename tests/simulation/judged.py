"""Judge of a real sink's verdicts: what it calls stored has been in its stream since the event was handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celery_event_bridge.contract import Event, Outcome, Verdict
from tests.simulation.promises import Broken

Holds = Callable[[str, float], bool]
"""Return whether the stream has an event of that id, or has had it after that time and told somebody of it."""


class Judged:
    """Beside a sink's class, before it."""

    holds: Holds
    now: Callable[[], float]
    refuses: Callable[[bytes], bool]
    confirmed: Callable[[str], None] = staticmethod(lambda event: None)
    """Called with each event that is called stored."""

    def send(self, events: Sequence[Event]) -> None:
        """Take note when each was handed over. Raises Broken where it is handed over before its verdict."""
        handed = self.__dict__.setdefault("_handed", {})
        for event in events:
            if event in handed:
                raise Broken(f"{event.id} was handed over again before its verdict")
            handed[event] = self.now()
        super().send(events)  # type: ignore[misc]

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Judge each."""
        found: Sequence[Verdict] = super().verdicts(timeout)  # type: ignore[misc]
        handed = self.__dict__.setdefault("_handed", {})
        for verdict in found:
            for event in verdict.events:
                if (since := handed.pop(event, None)) is None:
                    raise Broken(f"{event.id} got a verdict that nobody has waited for: {verdict.outcome.value}")
                if verdict.outcome is Outcome.STORED:
                    if not self.holds(event.id, since):
                        raise Broken(f"{event.id} is called stored, and was in no stream since {since:.4f}")
                    self.confirmed(event.id)
                if verdict.outcome is Outcome.REFUSED and not self.refuses(event.data):
                    raise Broken(f"{event.id} is refused, and nothing is wrong with it: {verdict.reason}")
        return found

    def close(self) -> None:
        """Owe nothing any more."""
        self.__dict__.pop("_handed", None)
        super().close()  # type: ignore[misc]
