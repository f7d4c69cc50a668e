"""Redis Streams: events are written as they come, Redis answers behind, and each event's own reply decides on it.

See docs/decisions/0015-pipelining.md.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from redis.exceptions import NoPermissionError, ResponseError

from celery_event_bridge.contract import Event, Finding, Outcome, SinkUnavailable, Verdict
from celery_event_sinks.redis.client import REPLY_TIMEOUT, RedisClient, Reply
from celery_event_sinks.redis.commands import EntryPacker
from celery_event_sinks.redis.names import StreamNames
from celery_event_sinks.redis.pipeline import EntryPipeline
from celery_event_sinks.redis.replicas import Replicas
from celery_event_sinks.redis.server import LONGEST_VALUE, RedisServer
from celery_event_sinks.redis.trim import AckedTrimmer, Trim, trim_rule

BATCH_EVENTS, BATCH_BYTES = 1000, 1024 * 1024
"""Written at a time at most; one larger event goes alone."""
_DATABASE = re.compile(r"/*\d*/*", re.ASCII)
ON_THE_WAY = 8000
"""Events written and not answered, at most about."""
FEW = 64
FEW_WAIT = 0.001
"""Seconds to wait for the replies to so few events, when nothing else is on its way: Redis needs less time for them
than the loop for another turn."""


class RedisSettings(BaseModel):
    """`BRIDGE_REDIS_*`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str = Field("redis://localhost:6379/0", description="redis://user:password@host:6379/0, rediss://, unix://")
    stream: str = Field("celery-events", min_length=1, description="name of the stream; {group}: task, worker, other")
    shards: int = Field(1, ge=1, le=16384, description="more than one: streams NAME:{0} to NAME:{n-1}, by key")
    trim: Annotated[Trim, BeforeValidator(trim_rule)] = Field(
        Trim("never"), description="never, acked, maxlen=1000000 or age=7d"
    )
    wait: int = Field(0, ge=0, description="replicas that must have a write before it counts as confirmed")
    waitaof: int = Field(0, ge=0, description="replicas that must have it on disk, beside this Redis itself (>= 7.2)")

    @field_validator("url")
    @classmethod
    def _a_server_that_we_can_serve(cls, value: str) -> str:
        scheme = urlsplit(value).scheme
        if scheme in ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"):
            raise ValueError(f"{scheme}:// is not available yet")
        if scheme not in ("redis", "rediss", "unix"):
            raise ValueError("expected redis://, rediss:// or unix://")
        try:
            path = "" if scheme == "unix" else urlsplit(value).path
            if "@" in path:  # redis:///user:password@host would be this host
                raise ValueError("its host is in its path")
            RedisClient(value)
        except (ValueError, TypeError) as exc:
            raise ValueError("not a URL of Redis, such as redis://user:password@host:6379/0") from exc
        if not _DATABASE.fullmatch(path):  # redis-py would take database 0
            raise ValueError("after the host comes the database's number, such as redis://host:6379/0")
        return value


class RedisStreamsSink:
    """Events into one stream, or into several by group or key."""

    name = "redis"
    Settings = RedisSettings

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._client = RedisClient(settings.url)
        self._pipeline = EntryPipeline(self._client)
        self._server = RedisServer(self._client)
        self._replicas = Replicas(self._client, settings.wait, settings.waitaof)
        self._packer = EntryPacker(settings.trim)
        self._names = StreamNames(settings.stream, settings.shards)
        self._used: set[bytes] = set()
        self._trimmer = AckedTrimmer(self._client) if settings.trim.rule == "acked" else None
        self._forget()

    def _forget(self) -> None:
        self._queue: deque[Event] = deque()
        """Not written yet."""
        self._written: list[Event] = []
        """Not answered yet; replies come in this order."""
        self._unconfirmed: list[Event] = []
        """Stored by this Redis, and not by as many replicas as asked for yet."""
        self._generation = 0
        """The connection on which they were written."""
        self._failed: list[Event] = []
        self._failure: str | None = None
        """Why they failed. Nothing more is written then; all goes back once the rest is answered."""
        self._alone = False
        """Whether a few events have just been written, and nothing else is on its way."""
        self._decided: list[Verdict] = []

    def open(self) -> None:
        """Connect and log in."""
        self._server.forget()
        self._client.connect()

    def available(self) -> None:
        """Whether Redis would take a write, found out with one that it refuses for its id only."""
        while self._written:  # a question may be asked when nothing else is to be answered
            self._read(REPLY_TIMEOUT)
        for stream in self._names.all:
            refused = self._client.ask("XADD", stream, "0-0", "probe", "")
            if not isinstance(refused, ResponseError) or "greater than 0-0" not in str(refused):
                raise SinkUnavailable(self._explain(refused, stream))
            length = self._client.ask("XLEN", stream)
            if isinstance(length, ResponseError) and not isinstance(length, NoPermissionError):
                raise SinkUnavailable(self._explain(length, stream))
        if (missing := self._replicas.missing()) is not None:
            raise SinkUnavailable(missing)

    def send(self, events: Sequence[Event]) -> None:
        """Write as many as may be on their way; the others follow."""
        self._queue.extend(events)
        self._write()

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """What the replies that have come decide."""
        if self._decided:
            timeout = 0.0
        elif self._alone:
            timeout = max(timeout, FEW_WAIT)
        self._alone = False
        self._read(timeout)
        self._write()
        decided, self._decided = self._decided, []
        return decided

    def location(self) -> str:
        """Return address, database and key."""
        return f"redis {self._client.address} {b' '.join(self._names.all).decode(errors='replace')}"

    def advice(self) -> Sequence[Finding]:
        """What the server's settings may lose."""
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        findings: list[Finding] = []
        for name, value in wanted.items():
            reply = self._client.ask("CONFIG", "GET", name)
            if isinstance(reply, ResponseError):
                return [Finding("warn", f"cannot see whether Redis keeps what it confirms: {reply}")]
            found = reply[1].decode() if reply else value
            if found != value and not (name == "maxmemory-policy" and found.startswith("volatile-")):
                text = f"{name} is {found}; with {value} Redis loses nothing that it has confirmed"
                findings.append(Finding("warn", text))
        return findings

    def close(self) -> None:
        """Disconnect."""
        self._forget()
        self._client.close()
        self._pipeline.reset()

    # Out ----------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        while self._queue and self._may_write():
            batch = self._next_batch()
            streams = self._names.of(batch)
            if self._written and not self._server.knows(streams):
                # It has to be asked first, and may be asked when nothing else is to be answered.
                self._queue.extendleft(reversed(batch))
                return
            try:
                limit = self._server.longest_value()
                once = self._server.drops_duplicates(set(streams))
            except SinkUnavailable as exc:
                self._fail(batch, str(exc))
                return
            if max(len(event.data) for event in batch) > limit:
                batch = self._without_refused(batch, limit)
                streams = self._names.of(batch)
            self._used.update(streams)
            self._alone = not self._written and not self._queue and len(batch) <= FEW
            self._pipeline.write(self._packer.pack(batch, streams, once=once))
            self._written += batch
            self._generation = self._client.generation

    def _without_refused(self, batch: Sequence[Event], limit: int) -> list[Event]:
        refused = [event for event in batch if len(event.data) > limit]
        self._decided.append(Verdict(Outcome.REFUSED, refused, f"over the server's {LONGEST_VALUE}={limit}"))
        return [event for event in batch if len(event.data) <= limit]

    def _may_write(self) -> bool:
        if self._failure is not None or self._unconfirmed or self._pipeline.full:
            return False
        if not self._written:
            return True
        # WAIT is about all that was written, and like the trimmer's questions it needs an idle connection.
        idle_first = self._replicas.wanted or (self._trimmer is not None and self._trimmer.due)
        return not idle_first and len(self._written) < ON_THE_WAY

    def _next_batch(self) -> list[Event]:
        queue, batch, size = self._queue, list[Event](), 0
        while queue and len(batch) < BATCH_EVENTS:
            size += len(queue[0].data)
            if batch and size > BATCH_BYTES:
                break
            batch.append(queue.popleft())
        return batch

    # Back ---------------------------------------------------------------------------------------------------------

    def _read(self, timeout: float) -> None:
        """Take note of what has been answered, and of what never will be."""
        if self._written:
            replies, lost = self._pipeline.read(timeout)
            answered, self._written = self._written[: len(replies)], self._written[len(replies) :]
            stored = [event for event, reply in zip(answered, replies, strict=True) if type(reply) is bytes]
            if len(stored) < len(answered):
                self._fail_unstored(answered, replies)
            if lost is not None:
                unanswered, self._written = self._written, []
                self._fail(unanswered, str(lost))
            self._unconfirmed += stored
            if self._trimmer is not None:
                self._trimmer.wrote(len(stored))
        if self._unconfirmed:
            self._confirm()
        if self._failure is not None and not self._written:
            self._give_back(self._failure)
        if self._trimmer is not None and self._trimmer.due and not self._written:
            self._trimmer.trim(self._used)

    def _fail_unstored(self, answered: Sequence[Event], replies: Sequence[Reply]) -> None:
        failed = [(event, reply) for event, reply in zip(answered, replies, strict=True) if type(reply) is not bytes]
        (stream,) = self._names.of([failed[0][0]])
        self._fail([event for event, _ in failed], self._explain(failed[0][1], stream))

    def _confirm(self) -> None:
        """What Redis has stored counts: at once, or when the replicas have it."""
        if self._replicas.wanted:
            if self._written:
                return
            try:
                if self._client.generation != self._generation:
                    # WAIT on another connection would wait for nothing, and call it done.
                    raise SinkUnavailable(self._failure or "the connection was lost before the replicas had it")
                if self._replicas.missing() is not None:
                    return
            except SinkUnavailable as exc:
                unconfirmed, self._unconfirmed = self._unconfirmed, []
                self._failed[:0] = unconfirmed
                self._fail((), str(exc))
                return
        stored, self._unconfirmed = self._unconfirmed, []
        self._decided.append(Verdict(Outcome.STORED, stored))

    def _fail(self, events: Sequence[Event], reason: str) -> None:
        self._server.forget()
        self._failed += events
        self._failure = reason

    def _give_back(self, reason: str) -> None:
        """All that failed, and all that is queued behind it: so order holds."""
        events = [*self._failed, *self._queue]
        self._failed, self._failure = [], None
        self._queue.clear()
        self._decided.append(Verdict(Outcome.RETRY, events, reason))

    def _explain(self, reply: Reply, stream: bytes) -> str:
        if not isinstance(reply, Exception):
            return f"Redis answered XADD with {reply!r}, which is no entry's id: is it Redis?"
        text = self._client.explain(reply)
        if "WRONGTYPE" in text:
            text += f": the key {stream.decode()!r} is no stream; choose another BRIDGE_REDIS_STREAM or remove it"
        return text
