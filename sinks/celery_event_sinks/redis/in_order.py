"""Entries in order through every failure: one batch on its way, and all of it stored or nothing.

Pipelined as they are usually, entries behind one that Redis refuses are stored: a Redis that is full for a moment takes
the next one. So a batch is a transaction. Redis drops all of it if it cannot take one of its commands, and stores the
others only where one fails for what its key holds, as do all others of that stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import RedisClient, Reply
from celery_event_sinks.redis.pipeline import EntryPipeline, cuts
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.sink import RedisStreamsSink
from celery_event_sinks.redis.timed import REPLY_TIMEOUT

MULTI, EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"


class Transactions(EntryPipeline):
    """A pipeline that waits for the replies to what it writes."""

    def __init__(self, client: RedisClient, reply_timeout: float = REPLY_TIMEOUT) -> None:
        super().__init__(client, reply_timeout)
        self._replies: list[Reply] = []
        self._lost: SinkUnavailable | None = None

    def write(self, commands: Sequence[bytes]) -> None:
        """Have them carried out together, or none."""
        self._replies, self._lost = self._carried_out(commands)
        self.owed = len(commands)

    def read(self, timeout: float) -> tuple[list[Reply], SinkUnavailable | None]:  # noqa: ARG002 - it has waited
        """Return the reply to each, and why the connection was lost, if it was: then there is none."""
        replies, self._replies = self._replies, []
        lost, self._lost = self._lost, None
        self.reset()
        self.was_cut = lost is not None and cuts(lost.__cause__)
        return replies, lost

    def abandon(self) -> None:
        """Do nothing: nothing is on its way."""

    def _carried_out(self, commands: Sequence[bytes]) -> tuple[list[Reply], SinkUnavailable | None]:
        # By itself: were it refused, what follows would be carried out one by one.
        begun, lost = self._begin()
        if lost is not None:
            return [], lost
        if isinstance(begun[0], ResponseError):
            return begun * len(commands), None
        answers, lost = self._client.exchange_packed((b"".join(commands), EXEC), len(commands) + 1)
        if lost is not None:
            return [], lost
        stored = answers.pop()
        if isinstance(stored, list):
            return stored, None
        refused = (answer for answer in answers if isinstance(answer, ResponseError))
        return [next(refused, stored)] * len(commands), None

    def _begin(self) -> tuple[list[Reply], SinkUnavailable | None]:
        return self._client.exchange_packed((MULTI,), 1)


class OrderedRedisSink(RedisStreamsSink):
    """Events into the same streams as `RedisStreamsSink`, each stream in order."""

    def __init__(self, settings: RedisSettings, *, reply_timeout: float = REPLY_TIMEOUT) -> None:
        super().__init__(settings, reply_timeout=reply_timeout)
        self._pipeline = Transactions(self._client, reply_timeout)

    def _may_write(self) -> bool:
        return not self._written and super()._may_write()
