"""Redis Streams: events are written as they come, Redis answers behind, and each event's own reply decides on it.

See docs/decisions/0015-pipelining.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ResponseError

from celery_event_bridge.contract import Event, Finding, Outcome, SinkUnavailable, Verdict
from celery_event_sinks.redis.advice import advice
from celery_event_sinks.redis.client import Reply
from celery_event_sinks.redis.clock import StreamClock
from celery_event_sinks.redis.commands import EntryPacker
from celery_event_sinks.redis.errors import ends_the_connection, is_protocol_error
from celery_event_sinks.redis.names import StreamNames
from celery_event_sinks.redis.once import Once
from celery_event_sinks.redis.pipeline import EntryPipeline
from celery_event_sinks.redis.replicas import Replicas
from celery_event_sinks.redis.server import LONGEST_VALUE, RedisServer
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.suspects import Suspects
from celery_event_sinks.redis.timed import REPLY_TIMEOUT
from celery_event_sinks.redis.trim import INTERVAL, Trimmer
from celery_event_sinks.redis.waiting import BATCH_EVENTS, FEW, FEW_WAIT, ON_THE_WAY, Waiting
from celery_event_sinks.redis.watch import StreamWatch

__all__ = ["BATCH_EVENTS", "ON_THE_WAY", "RedisSettings", "RedisStreamsSink"]


class RedisStreamsSink:
    """Events into one stream, or into several by group or key."""

    name = "redis"
    Settings = RedisSettings

    def __init__(
        self, settings: RedisSettings, *, reply_timeout: float = REPLY_TIMEOUT, trim_interval: float = INTERVAL
    ) -> None:
        self._settings = settings
        self._client = settings.client()
        self._pipeline = EntryPipeline(self._client, reply_timeout)
        self._server = RedisServer(self._client)
        self._replicas = Replicas(self._client, settings.wait, settings.waitaof)
        self._packer = EntryPacker(settings.trim)
        self._names = StreamNames(settings.stream, settings.shards)
        clock = self._clock = StreamClock()
        self._trimmer = Trimmer(self._client, settings.trim, clock, trim_interval)
        self._watch = StreamWatch(self._client, settings.trim, clock)
        self._once = Once(self._client, self._packer, self._trimmer, self._watch, self._server.ends)
        self._suspects, self._used = Suspects(), set[bytes]()
        self._forget()

    def _forget(self) -> None:
        self._queue = Waiting(self._suspects)
        """Not written yet."""
        self._written: list[Event] = []
        """Not answered yet; replies come in this order."""
        self._into: list[bytes] = []
        """The stream of each."""
        self._once.forget()
        self._unconfirmed: list[Event] = []
        """Stored by this Redis, and not by as many replicas as asked for yet."""
        self._generation = 0
        """The connection on which they were written."""
        self._failed: list[Event] = []
        self._failure: str | None = None
        """Reason why they failed. Nothing more is written then; all goes back once the rest is answered."""
        self._alone = False
        """True if a few events have just been written, and nothing else is on its way."""
        self._trial: Event | None = None
        """The one that is on its way alone, since it is suspected of taking the connection down."""
        self._errors: list[ResponseError] = []
        self._decided: list[Verdict] = []

    @classmethod
    def in_order(cls, settings: RedisSettings) -> RedisStreamsSink:
        """Return one that keeps the order of each stream."""
        from celery_event_sinks.redis.in_order import OrderedRedisSink

        return OrderedRedisSink(settings)

    def open(self) -> None:
        """Connect and log in."""
        self._server.forget()
        self._client.connect()

    def available(self) -> None:
        """Ask whether Redis would take a write, by one that it refuses for its id only."""
        with self._client.within(REPLY_TIMEOUT):
            self._settle()
            if self._written:  # a question may be asked when nothing else is to be answered
                self._pipeline.abandon()
                self._read(0.0)
            self._server.check(self._names.all)
            if (missing := self._replicas.missing()) is not None:
                raise SinkUnavailable(missing)

    def look(self) -> None:
        """See whether the server takes writes, its clock, and what is gone from the streams."""
        with self._client.within(REPLY_TIMEOUT):
            self._settle()
            if self._written or self._once or self._unconfirmed:
                return  # it is busy, or stuck; the events on their way have a deadline of their own
            self._clock.ask(self._client)
            if self._watch.look(self._names.all, self._trimmer):
                self._server.forget()  # a stream that was made anew has not the window of ids

    def send(self, events: Sequence[Event]) -> None:
        """Write as many as may be on their way; the others follow."""
        self._queue.add(events)
        with self._client.within(REPLY_TIMEOUT):
            self._write()

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Return what the replies that have come decide."""
        timeout = 0.0 if self._decided else max(timeout, FEW_WAIT) if self._alone else timeout
        self._alone = False
        with self._client.within(timeout + REPLY_TIMEOUT):
            self._read(timeout)
            self._write()
        decided, self._decided = self._decided, []
        return decided

    def location(self) -> str:
        """Return address, database and key."""
        return f"redis {self._client.address} {b' '.join(self._names.all).decode(errors='replace')}"

    def advice(self) -> Sequence[Finding]:
        """Return what the server's settings may lose."""
        with self._client.within(REPLY_TIMEOUT):
            self._settle()
            return () if self._written else advice(self._client, self._settings.trim)

    def close(self) -> None:
        """Disconnect."""
        self._forget()
        self._client.close()
        self._pipeline.reset()

    # Out ----------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while self._queue and self._may_write():
            if not self._suspects:
                batch = self._queue.take()
            else:
                batch, self._trial = self._queue.take_carefully(idle=not self._written)
                if not batch:
                    return
            streams = self._names.of(batch)
            if self._written and not self._server.knows(streams):
                # It has to be asked first, and may be asked when nothing else is to be answered.
                self._queue.put_back(batch)
                return
            try:
                limit = self._server.longest_value()
                once = self._server.drops_duplicates(set(streams))
            except SinkUnavailable as exc:
                self._trial = None
                self._fail(batch, str(exc))
                return
            if max(len(event.data) for event in batch) > limit:
                batch = self._without_refused(batch, limit)
                if not batch:
                    self._trial = None
                    continue
                streams = self._names.of(batch)
            self._used.update(streams)
            self._alone = not self._written and not self._queue and len(batch) <= FEW
            if once and not self._written:
                self._once.begin(self._clock.milliseconds(), streams)
            self._pipeline.write(self._packer.pack(batch, streams, once=once))
            self._written += batch
            self._into += streams
            self._generation = self._client.generation

    def _without_refused(self, batch: Sequence[Event], limit: int) -> list[Event]:
        refused = [event for event in batch if len(event.data) > limit]
        self._decided.append(Verdict(Outcome.REFUSED, refused, f"over the server's {LONGEST_VALUE}={limit}"))
        return [event for event in batch if len(event.data) <= limit]

    def _may_write(self) -> bool:
        if self._failure is not None or self._unconfirmed or self._once or self._pipeline.full:
            return False
        if not self._written:
            return True
        # WAIT is about all that was written, and like the trimmer's questions it needs an idle connection.
        idle_first = self._replicas.wanted or self._trimmer.due or self._trial is not None
        return not idle_first and len(self._written) < ON_THE_WAY

    # Back ---------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait for the replies to all that is on its way, for so long as a call may last."""
        with self._client.within(REPLY_TIMEOUT) as deadline:
            while (self._written or self._once) and not deadline.passed:
                self._read(deadline.left() / 2)

    def _read(self, timeout: float) -> None:
        """Take note of what has been answered, and of what never will be."""
        if self._written:
            replies, lost = self._pipeline.read(timeout)
            into, self._into = self._into[: len(replies)], self._into[len(replies) :]
            answered, self._written = self._written[: len(replies)], self._written[len(replies) :]
            stored = [event for event, reply in zip(answered, replies, strict=True) if type(reply) is bytes]
            if stored:
                self._take_note(stored, into, replies)
            if len(stored) < len(answered):
                self._fail_unstored(answered, replies)
            if lost is not None:
                unanswered, self._written, self._into = self._written, [], []
                self._lose(unanswered, str(lost))
        if self._once and not self._written:
            self._settle_doubts()
        if self._unconfirmed:
            self._confirm()
        if self._failure is not None and not self._written:
            self._give_back(self._failure)
        if self._used and self._trimmer.due and not self._written and not self._unconfirmed:
            self._trimmer.trim(self._used)

    def _take_note(self, stored: list[Event], into: Sequence[bytes], replies: Sequence[Reply]) -> None:
        self._trimmer.wrote(len(stored))
        self._suspects.cleared(stored)
        self._trial = None
        self._unconfirmed += self._once.take(stored, into, replies)

    def _settle_doubts(self) -> None:
        try:
            self._unconfirmed += self._once.settle()
        except SinkUnavailable as exc:
            self._fail(self._once.give_up(), str(exc))

    def _lose(self, unanswered: Sequence[Event], reason: str) -> None:
        """Give back what was on its way: the connection is lost."""
        trial, self._trial = self._trial, None
        if trial is not None and self._pipeline.was_cut and trial in unanswered:
            self._cut_alone(trial, reason)
            return
        if self._pipeline.was_cut:
            self._suspects.cut(unanswered)
        self._fail(unanswered, reason)

    def _cut_alone(self, trial: Event, reason: str) -> None:
        """Count one more time that the connection was cut with this event alone on it."""
        try:
            self._client.ask("PING")
        except SinkUnavailable as exc:  # Redis itself is away, which explains it
            self._fail([trial], str(exc))
            return
        if refused := self._suspects.cut_alone(trial, reason):
            self._decided.append(Verdict(Outcome.REFUSED, [trial], refused))
        else:
            self._queue.put_back([trial])

    def _fail_unstored(self, answered: Sequence[Event], replies: Sequence[Reply]) -> None:
        failed = [(event, reply) for event, reply in zip(answered, replies, strict=True) if type(reply) is not bytes]
        trial, self._trial = self._trial, None
        event, reply = failed[0]
        reason = self._client.explain_reply(reply, *self._names.of([event]))
        if is_protocol_error(reply):
            if event is trial:
                self._pipeline.drop()
                self._cut_alone(event, reason)
                return
            self._suspects.suspect(event)
        self._errors += [error for _, error in failed if isinstance(error, ResponseError)]
        self._fail([event for event, _ in failed], reason)

    def _confirm(self) -> None:
        """Count what Redis has stored: at once, or when the replicas have it."""
        if self._replicas.wanted:
            try:
                if self._written or self._replicas.missing(self._generation) is not None:
                    return
            except SinkUnavailable as exc:
                unconfirmed, self._unconfirmed = self._unconfirmed, []
                self._failed[:0] = unconfirmed
                self._fail((), self._failure or str(exc))
                return
        stored, self._unconfirmed = self._unconfirmed, []
        self._decided.append(Verdict(Outcome.STORED, stored))

    def _fail(self, events: Sequence[Event], reason: str) -> None:
        self._server.forget()
        self._failed += events
        self._failure = reason

    def _give_back(self, reason: str) -> None:
        """Give back all that failed, and all that is queued behind it: so order holds."""
        events = [*self._failed, *self._queue.take_all()]
        errors, self._errors, self._failed, self._failure = self._errors, [], [], None
        self._decided.append(Verdict(Outcome.RETRY, events, reason))
        if any(map(ends_the_connection, errors)):
            # After all that was on its way: a demoted master keeps its connections, and refuses for ever.
            self._pipeline.drop()
        self._client.take_note(errors)
