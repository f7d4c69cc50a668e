"""Redis Streams: a batch is one pipeline, and each event's own reply decides on it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from redis.exceptions import NoPermissionError, ResponseError

from bridge.contract import BlockingSink, Event, Outcome, SinkUnavailable, Verdict
from sinks.redis_client import RedisClient, Reply
from sinks.redis_commands import EntryPacker
from sinks.redis_server import LONGEST_VALUE, RedisServer
from sinks.redis_trim import AckedTrimmer, Trim, trim_rule

WAIT_MILLISECONDS = 500
"""For one WAIT; it is repeated until enough replicas have answered."""


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
            RedisClient(value)
        except (ValueError, TypeError) as exc:
            raise ValueError("not a URL of Redis, such as redis://user:password@host:6379/0") from exc
        return value


class RedisStreamsSink(BlockingSink):
    """Events into one stream, or into several by group or key."""

    name = "redis"
    Settings = RedisSettings

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__()
        self._settings = settings
        self._client = RedisClient(settings.url)
        self._waiting: list[Event] = []
        """Written, but not by as many replicas as asked for yet."""
        self._server = RedisServer(self._client)
        self._packer = EntryPacker(settings.trim)
        self._streams: set[bytes] = set()
        self._names: dict[str, bytes] = {}
        all_streams = self._all_streams()
        self._only = all_streams[0] if len(all_streams) == 1 else None
        self._trimmer = AckedTrimmer(self._client) if settings.trim.rule == "acked" else None

    def open(self) -> None:
        """Connect and log in."""
        self._server.forget()
        self._client.connect()

    def available(self) -> None:
        """Whether Redis would take a write, found out with one that it refuses for its id only."""
        for stream in self._all_streams():
            refused = self._client.ask("XADD", stream, "0-0", "probe", "")
            if not isinstance(refused, ResponseError) or "greater than 0-0" not in str(refused):
                raise SinkUnavailable(self._explain(refused, stream))
            length = self._client.ask("XLEN", stream)
            if isinstance(length, ResponseError) and not isinstance(length, NoPermissionError):
                raise SinkUnavailable(self._explain(length, stream))
        if (missing := self._missing_replicas()) is not None:
            raise SinkUnavailable(missing)

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        """Repeat the WAIT that is not satisfied yet, or store one batch."""
        if self._waiting:
            events, self._waiting = self._waiting, []
            return self._confirm(events)
        return super().verdicts(timeout)

    def decide(self, batch: Sequence[Event]) -> Sequence[Verdict]:
        """Write a batch; the reply to each event is its verdict."""
        try:
            limit = self._server.longest_value()
            refused = [event for event in batch if len(event.data) > limit]
            if refused:
                batch = [event for event in batch if len(event.data) <= limit]
            streams = [self._only] * len(batch) if self._only else [self._stream(event) for event in batch]
            self._streams.update(streams)
            once = self._server.drops_duplicates(set(streams))
        except SinkUnavailable as exc:
            self._server.forget()
            return (self.give_back(batch, str(exc)),)
        replies, lost = self._client.write(self._packer.pack(batch, streams, once=once))
        stored = [event for event, reply in zip(batch, replies, strict=False) if type(reply) is bytes]
        if len(stored) < len(batch):
            self._server.forget()
        verdicts: list[Verdict] = []
        if refused:
            verdicts.append(Verdict(Outcome.REFUSED, refused, f"over the server's {LONGEST_VALUE}={limit}"))
        if len(stored) < len(batch):
            verdicts.append(self._give_back_unstored(batch, replies, lost))
        if stored:
            verdicts += self._confirm(stored)
        if self._trimmer:
            self._trimmer.trim(self._streams, len(stored))
        return verdicts

    def _give_back_unstored(
        self, batch: Sequence[Event], replies: Sequence[Reply], lost: SinkUnavailable | None
    ) -> Verdict:
        failed = [(event, reply) for event, reply in zip(batch, replies, strict=False) if not isinstance(reply, bytes)]
        reason = str(lost) if lost else self._explain(failed[0][1], self._stream(failed[0][0]))
        return self.give_back([event for event, _ in failed] + list(batch[len(replies) :]), reason)

    def advice(self) -> Sequence[str]:
        """What the server's settings may lose."""
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        lines = []
        for name, value in wanted.items():
            reply = self._client.ask("CONFIG", "GET", name)
            if isinstance(reply, ResponseError):
                return [f"cannot see whether Redis keeps what it confirms: {reply}"]
            found = reply[1].decode() if reply else value
            if found != value and not (name == "maxmemory-policy" and found.startswith("volatile-")):
                lines.append(f"{name} is {found}; with {value} Redis loses nothing that it has confirmed")
        return lines

    def close(self) -> None:
        """Disconnect."""
        super().close()
        self._waiting = []
        self._client.close()

    def _stream(self, event: Event) -> bytes:
        group = event.type.partition("-")[0]
        name = self._name(group if group in ("task", "worker") else "other")
        if self._settings.shards == 1:
            return name
        return b"%b:{%d}" % (name, zlib.crc32(event.key.encode()) % self._settings.shards)

    def _name(self, group: str) -> bytes:
        if group not in self._names:
            self._names[group] = self._settings.stream.replace("{group}", group).encode()
        return self._names[group]

    def _all_streams(self) -> Sequence[bytes]:
        names = list(dict.fromkeys(self._name(group) for group in ("task", "worker", "other")))
        if self._settings.shards == 1:
            return names
        return [b"%b:{%d}" % (name, shard) for name in names for shard in range(self._settings.shards)]

    def _confirm(self, written: list[Event]) -> Sequence[Verdict]:
        """The verdict on what Redis has written: at once, or when the replicas have it."""
        try:
            missing = self._missing_replicas()
        except SinkUnavailable as exc:
            return (self.give_back(written, str(exc)),)
        if missing is None:
            return (Verdict(Outcome.STORED, written),)
        self._waiting = written
        return ()

    def _missing_replicas(self) -> str | None:
        """None if as many replicas as asked for have all that this connection has written, else how many have."""
        wait, waitaof = self._settings.wait, self._settings.waitaof
        if wait:
            have = self._client.ask("WAIT", wait, WAIT_MILLISECONDS)
            if not isinstance(have, int) or have < wait:
                return self._too_few("BRIDGE_REDIS_WAIT", wait, have)
        if waitaof:
            have = self._client.ask("WAITAOF", 1, waitaof, WAIT_MILLISECONDS)
            if not isinstance(have, list) or have[0] < 1 or have[1] < waitaof:
                return self._too_few("BRIDGE_REDIS_WAITAOF", waitaof, have)
        return None

    def _too_few(self, setting: str, wanted: int, have: Reply) -> str:
        if isinstance(have, Exception):
            hint = ": it needs Redis >= 7.2" if "unknown command" in str(have) else ""
            return f"{setting}={wanted}: {self._client.explain(have)}{hint}"
        found = have[1] if isinstance(have, list) else have
        return f"{setting}={wanted}: only {found} of its replicas have the last write"

    def _explain(self, reply: Reply, stream: bytes) -> str:
        if not isinstance(reply, Exception):
            return f"Redis answered XADD with {reply!r}, which is no entry's id: is it Redis?"
        text = self._client.explain(reply)
        if "WRONGTYPE" in text:
            text += f": the key {stream.decode()!r} is no stream; choose another BRIDGE_REDIS_STREAM or remove it"
        return text
