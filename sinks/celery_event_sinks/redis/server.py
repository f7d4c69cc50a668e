"""Abilities of the Redis at the other end, asked once a connection: longest value, and whether it drops duplicates.

Redis >= 8.6 keeps the ids of a producer's last entries and answers `XADD key IDMP PRODUCER ID ...` of one that it has
with the entry that is there. Asked for by trying, with a command that every server refuses, each in its own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from redis.exceptions import NoPermissionError, ResponseError

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.redis.client import RedisClient, Reply
from celery_event_sinks.redis.extent import LAST_PLACE, NOWHERE, entry_of, extent, is_absent, used_up

LONGEST_VALUE = "proto-max-bulk-len"
DEFAULT_LONGEST_VALUE = 512 * 1024 * 1024
"""Redis's own default."""
WINDOW_SECONDS = 86_400
WINDOW_IDS = 10_000
"""The most that Redis allows for a producer; its defaults are 100 seconds and 100 ids, which one outage exceeds."""


class RedisServer:
    """Asks when it is first needed; `forget()` when it may be another server."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._longest: int | None = None
        self._drops: bool | None = None
        self._ready: set[bytes] = set()
        """Streams whose window is as wide as it can be."""
        self.ends: dict[bytes, bytes] = {}
        """An id of each stream, above which all new ones are; of a server that drops duplicates only."""

    def forget(self) -> None:
        """Ask again. After a lost connection or an error, when another server may be there."""
        self._longest = self._drops = None
        self._ready.clear()

    def check(self, streams: Sequence[bytes]) -> None:
        """Ask whether entries of these streams would be taken now, by one that is refused for its id only.

        Raises SinkUnavailable.
        """
        for stream, refused in self._asked_of_all(streams, ("XADD",), "0-0", "probe", ""):
            if not isinstance(refused, ResponseError) or "greater than 0-0" not in str(refused):
                raise SinkUnavailable(self._client.explain_reply(refused, stream))
        for stream, length in self._asked_of_all(streams, ("XLEN",)):
            if isinstance(length, ResponseError) and not isinstance(length, NoPermissionError):
                raise SinkUnavailable(self._client.explain_reply(length, stream))
        # The refused one is refused before Redis looks for an id for it.
        for stream, reply in self._asked_of_all(streams, ("XINFO", "STREAM")):
            found = None if isinstance(reply, ResponseError) else extent(reply)
            if found is not None and found.last == LAST_PLACE:
                raise SinkUnavailable(used_up(self._client.where, stream))

    def knows(self, streams: Iterable[bytes]) -> bool:
        """Return whether nothing has to be asked before entries of these streams are written."""
        if self._longest is None or self._drops is None:
            return False
        return not self._drops or self._ready.issuperset(streams)

    def longest_value(self) -> int:
        """Return the bytes that the server takes as one value. Raises SinkUnavailable.

        To more it closes the connection, and the replies before that, on their way still, may be lost with it: so more
        is never sent.
        """
        if self._longest is None:
            reply = self._client.ask("CONFIG", "GET", LONGEST_VALUE)
            known = isinstance(reply, list) and len(reply) == 2  # not so for a user who may not ask
            self._longest = int(reply[1]) if known else DEFAULT_LONGEST_VALUE
        return self._longest

    def drops_duplicates(self, streams: Set[bytes]) -> bool:
        """Return whether entries of these streams can be written with `IDMP`; their windows are wide then.

        Raises SinkUnavailable if the server cannot say now.
        """
        if self._drops is None and streams:
            self._drops = self._knows_idmp(next(iter(streams)))
        if not self._drops:
            self.ends.clear()
        else:
            for stream in streams - self._ready:
                self._widen(stream)
        return bool(self._drops)

    def _asked_of_all(
        self, streams: Sequence[bytes], command: Sequence[str], *arguments: str
    ) -> Iterator[tuple[bytes, Reply]]:
        replies, lost = self._client.exchange([(*command, stream, *arguments) for stream in streams])
        if lost is not None:
            raise lost
        return zip(streams, replies, strict=True)

    def _knows_idmp(self, stream: bytes) -> bool:
        reply = self._client.ask("XADD", stream, "IDMP", "probe", "probe", "0-0", "probe", "")
        if not isinstance(reply, ResponseError):
            raise SinkUnavailable(f"Redis took an entry that it has to refuse ({reply!r}): is it Redis?")
        knows = "IDMP" in str(reply)
        if not knows and not _says_no(reply):  # READONLY, LOADING, NOPERM and the like hide the answer
            raise SinkUnavailable(self._client.explain(reply))
        return knows

    def _widen(self, stream: bytes) -> None:
        """Setting what is set already keeps the ids; anything else clears them. So it is asked for at once, before
        there are any; a user without the right to it keeps the server's own window.
        """
        settings = ("IDMP-DURATION", WINDOW_SECONDS, "IDMP-MAXSIZE", WINDOW_IDS)
        reply = self._client.ask("XCFGSET", stream, *settings)
        if is_absent(reply):
            # There has to be a stream, and an empty one comes with a group only.
            self._client.ask("XGROUP", "CREATE", stream, "celery-event-bridge", "$", "MKSTREAM")
            self._client.ask("XGROUP", "DESTROY", stream, "celery-event-bridge")
            reply = self._client.ask("XCFGSET", stream, *settings)
        refused = isinstance(reply, NoPermissionError) or "WRONGTYPE" in str(reply)
        if isinstance(reply, ResponseError) and not _says_no(reply) and not refused:
            raise SinkUnavailable(self._client.explain(reply))
        reply = self._client.ask("XINFO", "STREAM", stream)
        found = None if isinstance(reply, ResponseError) else extent(reply)
        # Whoever may not ask knows what it has written itself.
        self.ends[stream] = entry_of(found.last) if found else self.ends.get(stream, entry_of(NOWHERE))
        self._ready.add(stream)


def _says_no(reply: ResponseError) -> bool:
    """Return whether it is about the command. An error with a code of its own, such as READONLY, is about the server's
    state; redis-py has a class for some and leaves the code in the text of the others.
    """
    return type(reply) is ResponseError and not str(reply).partition(" ")[0].isupper()
