"""`WAIT` and `WAITAOF`: whether as many replicas as asked for have what this connection has written."""

from __future__ import annotations

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import RedisClient, Reply

WAIT_MILLISECONDS = 500
"""For one WAIT; it is repeated until enough replicas have answered."""


class Replicas:
    """Asks on behalf of one client. It has to be the same connection that has written."""

    def __init__(self, client: RedisClient, wait: int, waitaof: int, milliseconds: int = WAIT_MILLISECONDS) -> None:
        self._client = client
        self._milliseconds = milliseconds
        self._wait = wait
        self._waitaof = waitaof
        self.wanted = bool(wait or waitaof)
        """True if a write counts only when replicas have it."""

    def missing(self, generation: int | None = None) -> str | None:
        """Return None if as many as asked for have all that the connection has written, else how many have.

        `generation`: the connection that has. Raises SinkUnavailable.
        """
        if generation not in (None, self._client.generation):
            # WAIT on another connection would wait for nothing, and call it done.
            raise SinkUnavailable("the connection was lost before the replicas had it")
        wait, waitaof = self._wait, self._waitaof
        if wait:
            have = self._client.ask("WAIT", wait, self._milliseconds)
            if not isinstance(have, int) or have < wait:
                return self._too_few("BRIDGE_REDIS_WAIT", wait, have)
        if waitaof:
            have = self._client.ask("WAITAOF", 1, waitaof, self._milliseconds)
            if not isinstance(have, list) or have[0] < 1 or have[1] < waitaof:
                return self._too_few("BRIDGE_REDIS_WAITAOF", waitaof, have)
        return None

    def _too_few(self, setting: str, wanted: int, have: Reply) -> str:
        if isinstance(have, Exception):
            hint = ": it needs Redis >= 7.2" if "unknown command" in str(have) else ""
            return f"{setting}={wanted}: {self._client.explain(have)}{hint}"
        found = have[1] if isinstance(have, list) else have
        return f"{setting}={wanted}: only {found} of its replicas have the last write"
