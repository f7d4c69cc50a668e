"""Records in order through every failure: with the first that fails all behind it fail, and are sent again.

An idempotent producer keeps the order of a partition as long as nothing fails for good. Where a batch does, librdkafka
would go on behind it; told to leave no gap, it gives up everything instead. So does this sink with whatever else comes
back. What Kafka refuses for itself, and not for the batch it was in, is known by its id from then on and sent alone.
"""

from __future__ import annotations

from typing import ClassVar

from confluent_kafka import KafkaError, Message

from celery_event_bridge.contract import Event, Outcome
from celery_event_sinks.kafka.errors import CLOCKS, PERMANENT, PURGED, reason_of
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink

REMEMBERED = 1000
"""Events that are to be sent alone, at most; each costs a round trip."""


class OrderedKafkaSink(KafkaSink):
    """Events into the same topics as `KafkaSink`, each partition in order."""

    also: ClassVar = {"enable.gapless.guarantee": "true"}

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(settings)
        self._apart: dict[str, bool] = {}
        """Ids of events that are sent alone; true: with the time of now, since their own is refused."""
        self._solo: Event | None = None
        """The one that is on its way alone, until its report is there: by then the producer may be given up."""

    def _produce(self) -> None:
        while self._waiting.unsent and self._alone is None:
            event = self._waiting.unsent[0]
            if event.id in self._apart:
                if len(self._producer or ()):
                    return
                # Known as the one that is alone before it is handed over: it may be decided on at once.
                self._alone = self._solo = event
                if not self._hand_over(
                    (event,), self._records.time_now if self._apart[event.id] else self._records.timestamp
                ):
                    self._alone = self._solo = None
                    return
                self._waiting.unsent.popleft()
                continue
            run = self._run()
            taken = self._hand_over(run, self._records.timestamp)
            for _ in range(taken):
                self._waiting.unsent.popleft()
            if taken < len(run):
                return

    def _run(self) -> list[Event]:
        """Return what waits up to the first that is to be sent alone."""
        if not self._apart:
            return list(self._waiting.unsent)
        run: list[Event] = []
        for event in self._waiting.unsent:
            if event.id in self._apart:
                break
            run.append(event)
        return run

    def _delivered(self, event: Event, error: KafkaError | None, message: Message | None) -> None:
        if alone := event is self._solo:
            self._alone = self._solo = None
        if error is None:
            self._stored.append(event)
            if self.troubles:
                self._topics.down.stored(message)
            if self._apart:
                self._apart.pop(event.id, None)
            return
        code = error.code()
        if code in PURGED:
            self._give_back(event, self._purged_for)
            return
        # Without a message librdkafka has not taken it, so that it was in no batch.
        if code in PERMANENT and (alone or message is None):
            self._apart.pop(event.id, None)
            self._undone.setdefault((Outcome.REFUSED, reason_of(error)), []).append(event)
            return
        reason = self._why(error)
        if code == KafkaError.INVALID_TIMESTAMP:
            if self._apart.get(event.id):
                reason = f"{reason_of(error)} It refuses the time of now too: {CLOCKS}"
            self._send_apart(event, dated_now=True)
        elif code in PERMANENT:
            self._send_apart(event, dated_now=False)
        else:
            self._topics.down.refused(message, error, reason)
        self._give_back(event, reason)
        self._fatal = self._fatal or reason

    def _send_apart(self, event: Event, *, dated_now: bool) -> None:
        if event.id in self._apart or len(self._apart) < REMEMBERED:
            self._apart[event.id] = dated_now
