"""Kafka: an idempotent producer, acks=all, and each event's own delivery report is its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from celery_event_bridge.contract import Event, Finding, Outcome, SinkUnavailable, Verdict
from celery_event_sinks.kafka.causes import Causes
from celery_event_sinks.kafka.errors import CLOCKS, PERMANENT, PURGED, reason_of
from celery_event_sinks.kafka.login import REFUSED, Login
from celery_event_sinks.kafka.producer import new_producer, purge
from celery_event_sinks.kafka.records import Records
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.topics import Topics
from celery_event_sinks.kafka.waiting import Waiting

Answer = TypeVar("Answer")


class KafkaSink:
    """Events as CloudEvents 1.0, in binary mode, into one topic or one for each group."""

    name = "kafka"
    Settings = KafkaSettings
    also: ClassVar[Mapping[str, str]] = {}
    """Properties of the producer beside those of the settings."""

    @classmethod
    def in_order(cls, settings: KafkaSettings) -> KafkaSink:
        """Return one that keeps the order of each partition."""
        from celery_event_sinks.kafka.in_order import OrderedKafkaSink

        return OrderedKafkaSink(settings)

    def __init__(self, settings: KafkaSettings) -> None:
        self._login = Login(settings)
        self._settings = settings
        self._topic = settings.topics
        self._why = partial(reason_of, right="WRITE", on=f"topic {', '.join(map(repr, {*self._topic.values()}))}")
        self._records = Records()
        self._topics = Topics(settings)
        self.troubles = self._topics.down.reasons
        """Topics that store nothing while another one does, and why."""
        self._producer: Producer | None = None
        self._waiting = Waiting()
        self._alone: Event | None = None
        """The one of them that is on its way alone."""
        self._purged_for = ""
        self._stored: list[Event] = []
        self._undone: dict[tuple[Outcome, str], list[Event]] = {}
        self._fatal: str | None = None
        self._trouble: str | None = None
        """Reason why no broker answers, as librdkafka says it of its own accord."""
        self._causes = Causes(settings)

    def open(self) -> None:
        """Make the producer; it connects by itself."""
        if self._producer is not None:
            return
        self._fatal = self._trouble = None
        self._settings = self._login.begin()
        self._causes = Causes(self._settings)
        self._producer = new_producer(self._settings, self._hear, self.also)

    def refusal(self) -> str:
        """Return what librdkafka does not take of the settings together, which only a client tells; else nothing."""
        try:
            self.open()
        except SinkUnavailable as exc:
            return str(exc)
        return ""

    def available(self) -> None:
        """Ask whether Kafka would take an event now: each topic, with a leader and enough replicas everywhere."""
        self._ask(self._topics.check)

    def preview(self) -> Sequence[Finding]:
        """Ask as `available` does, but make no topic: return how each that is missing would be made."""
        return self._ask(self._topics.preview)

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        self.open()
        assert self._producer is not None
        reason = "given back after an outage"
        try:
            answer = question()
            self._causes.answered()
            return answer
        except SinkUnavailable as exc:
            self._poll(self._producer, 0)
            reason = self._causes.telling or str(exc)
            raise SinkUnavailable(reason) from exc
        finally:
            self._poll(self._producer, 0)
            self._trouble = None
            if len(self._producer) or self._fatal is not None or self._login.failure:
                # What librdkafka still holds is the broker's again: it must not be sent when Kafka is back.
                self._renew(reason)

    def send(self, events: Sequence[Event]) -> None:
        """Hand over to librdkafka as many as its queue takes."""
        self._waiting.unsent.extend(events)
        if self._producer is None:
            with suppress(SinkUnavailable):
                self.open()
        self._produce()

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Return what the delivery reports have decided since."""
        if self._producer is not None:
            self._poll(self._producer, timeout)
            if self._fatal is not None:
                self._renew(self._fatal)
            elif self._login.failure and self._login.is_renewed():
                self._renew(self._login.failure)
            else:
                self._produce()
        stored, self._stored = self._stored, []
        undone, self._undone = self._undone, {}
        verdicts = [Verdict(outcome, events, reason) for (outcome, reason), events in undone.items()]
        if stored:
            verdicts.append(Verdict(Outcome.STORED, stored))
            self._trouble = self._login.failure = None
            self._causes.answered()
            self._login.doubted = False
        elif self._trouble is not None:
            # On no event, as librdkafka goes on trying; but the relay learns of the outage, and why it is one.
            verdicts.append(Verdict(Outcome.RETRY, (), self._trouble))
            self._trouble = None
        return verdicts

    def location(self) -> str:
        """Return the topics and the cluster's id, asked for once. Raises SinkUnavailable."""
        return self._topics.location()

    def look(self) -> None:
        """Look again whether the topics are there, the same as before, and ready: see `Topics`."""
        if self._login.doubted and self._login.differs():
            self._renew("a certificate or a password was renewed")
        try:
            self._topics.look()
            self._causes.answered()
        except SinkUnavailable as exc:
            reason = self._causes.telling or str(exc)
            if self._login.failure and not self._busy:
                self._renew(reason)
            raise SinkUnavailable(reason) from exc

    def advice(self) -> Sequence[Finding]:
        """Return what the topics' settings may lose."""
        return self._topics.advice()

    def close(self) -> None:
        """Throw out what is undecided and disconnect."""
        self._discard()
        self._waiting.take_all()
        self._stored, self._undone = [], {}
        self._topics.close()

    def _produce(self) -> None:
        if self._waiting.suspects or self._alone is not None:
            if self._alone is None and not len(self._producer or ()):
                # Known as the one that is alone before it is handed over: it may be decided on at once.
                self._alone = suspect = self._waiting.suspects.popleft()
                dated = self._records.time_now if suspect in self._waiting.dated_now else self._records.timestamp
                if not self._hand_over((suspect,), dated):
                    self._waiting.suspects.appendleft(suspect)
                    self._alone = None
            return
        self._waiting.dated_now.update(self._waiting.late)
        for events, time_of in (
            (self._waiting.again, self._records.timestamp),
            (self._waiting.late, self._records.time_now),
            (self._waiting.unsent, self._records.timestamp),
        ):
            if events:
                for _ in range(self._hand_over(events, time_of)):
                    events.popleft()

    def _hand_over(self, events: Iterable[Event], timestamp_of: Callable[[Event], int]) -> int:
        """Hand over; returns how many librdkafka has taken, or decided on: not all, if its queue is full."""
        producer, records, topics, other = self._producer, self._records, self._topic, self._topic["other"]
        records.recorded_now(self._topics.times)
        taken = 0
        for event in events:
            if producer is None:
                self._give_back(event, "not open")
            else:
                timestamp = timestamp_of(event)
                try:
                    producer.produce(
                        topics.get(event.type.partition("-")[0], other),
                        event.data,
                        event.key,
                        on_delivery=partial(self._delivered, event),
                        timestamp=timestamp,
                        headers=records.headers(event, timestamp),
                    )
                except BufferError:
                    break
                except KafkaException as exc:
                    self._delivered(event, exc.args[0], None)
                    if self._fatal is not None:
                        return taken + 1
            taken += 1
        return taken

    def _poll(self, producer: Producer, timeout: float) -> None:
        """Serve what librdkafka has to tell, for up to so many seconds."""
        try:
            producer.poll(timeout)
        except KafkaException as exc:
            # So the client tells of a fatal error: not by the callback for errors.
            self._fatal = self._why(exc.args[0])

    # Called by librdkafka, within `poll` ---------------------------------------------------------------------------

    def _delivered(self, event: Event, error: KafkaError | None, message: Message | None) -> None:
        alone = event is self._alone
        if alone:
            self._alone = None
        if error is None:
            self._stored.append(event)
            if self.troubles:
                self._topics.down.stored(message)
            if self._waiting.dated_now:
                self._waiting.dated_now.discard(event)
        elif error.code() == KafkaError.INVALID_TIMESTAMP:
            self._refused_for_its_time(event, error)
        elif error.code() in PERMANENT:
            if alone:
                self._waiting.dated_now.discard(event)
                self._undone.setdefault((Outcome.REFUSED, reason_of(error)), []).append(event)
            else:
                self._waiting.suspects.append(event)
        elif error.code() == KafkaError._INVALID_DIFFERENT_RECORD:
            (self._waiting.late if event in self._waiting.dated_now else self._waiting.again).append(event)
        elif error.code() in PURGED:
            self._give_back(event, self._purged_for)
        else:
            reason = self._why(error)
            self._fatal = reason if error.fatal() else self._fatal
            self._topics.down.refused(message, error, reason)
            self._give_back(event, reason)

    def _refused_for_its_time(self, event: Event, error: KafkaError) -> None:
        """Send it again with the time of now: a record's time is ours to choose, and never a reason to refuse it."""
        if event not in self._waiting.dated_now:
            self._waiting.late.append(event)
            return
        self._give_back(event, f"{reason_of(error)} It refuses the time of now too: {CLOCKS}")

    def _hear(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fatal = self._why(error)
            return
        self._causes.hear(error)
        if error.code() in REFUSED:
            self._login.failed(reason_of(error))
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._trouble = self._causes.reason()
            self._login.doubted = True

    # After a failure ----------------------------------------------------------------------------------------------

    def _give_back(self, event: Event, reason: str) -> None:
        self._waiting.dated_now.discard(event)
        self._undone.setdefault((Outcome.RETRY, reason), []).append(event)

    def _renew(self, reason: str) -> None:
        """Make a new producer; the old one's undecided events, and all behind them, go back."""
        self._purged_for = reason
        self._discard()
        for event in self._waiting.take_all():
            self._give_back(event, reason)
        self._topics.renew(self._login.settings.fresh())
        with suppress(SinkUnavailable):  # a certificate's file that is gone for a moment; `available` says so
            self.open()

    @property
    def _busy(self) -> bool:
        """Return whether there is an event without a verdict."""
        return bool(len(self._producer or ()) or self._waiting)

    def _discard(self) -> None:
        """Let go of the producer; each event that it holds is given back by its report."""
        producer, self._producer = self._producer, None
        self._alone = None
        if producer is not None:
            purge(producer, self._poll)
