"""A connection to whichever node of a cluster serves one stream: MOVED and a lost node mean another connection.

While a slot is on its way from one node to another, its key may be at either: who has it no more answers ASK, and the
other one takes the commands that come behind ASKING.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ConnectionError as RedisConnectionError,
    MovedError,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.values import with_remedy
from celery_event_sinks.redis.client import Command, RedisClient, Reply
from celery_event_sinks.redis.cluster import SlotOwner, Slots, cluster_of
from celery_event_sinks.redis.errors import OF_A_CLUSTER, code_of
from celery_event_sinks.redis.pipeline import EntryPipeline
from celery_event_sinks.redis.replies import EntryReplies
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.timed import REPLY_TIMEOUT

ASKING = b"*1\r\n$6\r\nASKING\r\n"
HOW_TO_SEE = "`redis-cli --cluster check` says more"


def slots_of(url: str, tls: Mapping[str, Any]) -> Slots:
    """Return who asks the nodes of the cluster of that URL. Raises NoMaster."""

    def ask(node: str, seconds: float, commands: Sequence[Command]) -> Sequence[Reply]:
        client = RedisClient(node, tls)
        try:
            with client.within(seconds):
                replies, lost = client.exchange(commands)
        finally:
            client.close()
        if lost is not None:
            raise lost.__cause__ if isinstance(lost.__cause__, (RedisError, OSError)) else RedisError(str(lost))
        return replies

    return Slots(url, ask)


class SlotClient(RedisClient):
    """Leads to the master of one stream's slot."""

    def __init__(self, url: str, tls: Mapping[str, Any], slots: Slots, stream: bytes) -> None:
        self._slots = slots
        self._owner = SlotOwner(slots, key_slot(stream))
        super().__init__(url, tls)

    def _use(self, url: str) -> None:
        cluster = cluster_of(url)
        super()._use(cluster.node_url(cluster.seeds[0]))
        self._slots.cluster = cluster
        self._url, self._masters, self._name = url, self._owner, None
        self.where = cluster.where

    @property
    def asking(self) -> bool:
        """Return whether each command has to come behind ASKING."""
        return self._owner.asking is not None

    def exchange(self, commands: Sequence[Command]) -> tuple[list[Reply], SinkUnavailable | None]:
        """Do the same, with ASKING before each where that is needed."""
        if not self.asking:
            return super().exchange(commands)
        both = [one for command in commands for one in (("ASKING",), command)]
        replies, lost = super().exchange(both)
        return replies[1::2], lost

    def exchange_packed(self, packed: Sequence[bytes], count: int) -> tuple[list[Reply], SinkUnavailable | None]:
        """Do the same, but not on a connection to a node that has just not answered another one of ours."""
        if self._owner.is_shunned:
            return [], self.lost(RedisConnectionError("does not answer"))
        return super().exchange_packed(packed, count)

    def take_note(self, errors: Sequence[ResponseError]) -> None:
        """Remember where a node says that the stream is."""
        for error in errors:
            if isinstance(error, MovedError):
                self._owner.moved(error.host, error.port)
            elif isinstance(error, AskError):
                self._owner.ask(error.host, error.port)
        super().take_note(errors)

    def lost(self, exc: Exception) -> SinkUnavailable:
        """Leave a node alone that does not answer in time."""
        if isinstance(exc, (RedisTimeoutError, TimeoutError)):
            self._owner.shun()
        return super().lost(exc)

    def explain(self, error: Exception) -> str:
        """Say it of the node."""
        node = self._owner.address
        at = f"{node[0]}:{node[1]} of the {self.where}" if node else f"the {self.where}"
        if code_of(error) in OF_A_CLUSTER:
            text = str(error)
            text = text if text.startswith(code_of(error)) else f"{code_of(error)} {text}"
            return f"Redis at {at}: {with_remedy(text, HOW_TO_SEE)}"
        return super().explain(error).replace(f"Redis at {self.where}", f"Redis at {at}", 1)


class SlotPipeline(EntryPipeline):
    """Says ASKING before each entry where that is needed."""

    def __init__(self, client: SlotClient, reply_timeout: float = REPLY_TIMEOUT) -> None:
        self._slot_client = client
        super().__init__(client, reply_timeout)

    def write(self, commands: Sequence[bytes]) -> None:
        """Send packed commands."""
        self._unread = self._unread if self.owed else EntryReplies(passed_over=b"OK")
        super().write([ASKING + command for command in commands] if self._slot_client.asking else commands)


class SlotSettings(RedisSettings):
    """Settings of one stream of a cluster."""

    slots: Any = None

    @classmethod
    def of(cls, settings: RedisSettings, slots: Slots, stream: bytes) -> SlotSettings:
        """Return those of this stream; the others' connections know where it is by the same `slots`."""
        return cls.model_construct(**{**dict(settings), "stream": stream.decode(), "shards": 1, "slots": slots})

    def client(self) -> SlotClient:
        """Return a client of whoever serves the stream."""
        return SlotClient(self.url, self.tls_options(), self.slots, self.stream.encode())
