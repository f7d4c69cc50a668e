"""Place of a group in each stream, and what others have done to that: a trim that overtook it, `XGROUP SETID`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_sinks.redis.anew import ReadPlaces
from celery_event_sinks.redis.client import RedisClient, Reply
from celery_event_sinks.redis.extent import NOWHERE, Extent, Place, entry_of, extent, fields_of, place
from celery_event_sinks.redis.overtaken import GroupOvertaken
from celery_event_sinks.redis.scripts import COUNT, MOST_COUNTED, SET_BACK


class RedisProcess:
    """The process at the other end: another one has loaded its data, and may lack some."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._generation = -1
        self._run_id: bytes | None = None

    def is_another(self) -> bool:
        """Ask, after each connect, whether it is another one, or may be, than at the last call."""
        if self._client.generation == self._generation:
            return False
        before, self._run_id = self._run_id, self._client.run_id()
        self._generation = self._client.generation
        return before is None or before != self._run_id


class GroupPosition:
    """Judge by what Redis says of the group just before each read."""

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name
        self._overtaken = GroupOvertaken()
        self._counted: set[bytes] = set()
        """Streams in which Redis knew how many entries the group has read when it was looked at last."""
        self._looked_at: dict[bytes, Place] = {}
        """Position of the group, by stream, when it was looked at last."""
        self._since: Counter[bytes] = Counter()
        """Entries that were delivered to this reader since then."""
        self._process = RedisProcess(client)
        self._read = ReadPlaces(client)
        self.last: dict[bytes, Place] = {}
        """The last entry that the group is known to have delivered, by stream."""

    def delivered(self, stream: bytes, entries: Sequence[tuple[Place, Any]]) -> None:
        """Take note of entries that were delivered, in order."""
        self.last[stream] = max(self.last[stream], entries[-1][0])
        self._since[stream] += len(entries)
        self._read.add(stream, entries)

    def entries_read(self, stream: bytes, now: Extent) -> int | None:
        """Return how many entries of the stream are before `last`: read, or gone and told of. None where that is not
        known. Raises SinkUnavailable.
        """
        number = self._overtaken.number(stream, now)
        if number is None or now.added is None:
            return None
        # Other readers may have been given some, between the look and what this one was given.
        between = self._count(stream, self._looked_at[stream], self.last[stream])
        return min(now.added, number + max(self._since[stream], between))

    def made_again(self, stream: bytes, after: Place) -> None:
        """Take note that the group was made again after this entry."""
        self.last[stream] = after
        self._overtaken.made_again(stream)

    def begin(self, stream: bytes, of_stream: Reply, position: Place) -> Place:
        """Take note of where the group is, by the reply to `XINFO STREAM`; returns it, put right. Raises
        SinkUnavailable.
        """
        now = None if isinstance(of_stream, ResponseError) else extent(of_stream)
        self.last[stream] = position
        if now is not None and now.last < position:
            self._set_back(stream, now, position)
        return self.last[stream]

    def look_at(self, stream: bytes, of_stream: Reply, of_groups: Reply) -> int:
        """Take note of the replies to `XINFO STREAM` and `XINFO GROUPS`; returns how many entries the group has missed.

        Raises SinkUnavailable.
        """
        if isinstance(of_groups, ResponseError) or isinstance(of_stream, ResponseError):
            return 0  # the read says what is wrong; or the user may not ask
        now = extent(of_stream)
        group = next((one for one in map(fields_of, of_groups) if one[b"name"] == self._name.encode()), None)
        if now is None or group is None:
            return 0
        if self._process.is_another():
            # What it has loaded does not say how many entries a group has read.
            self._counted.clear()
        if now.exists and now.last < (position := place(group[b"last-delivered-id"])):
            self._set_back(stream, now, position)
            return 0
        position = self._looked_at[stream] = place(group[b"last-delivered-id"])
        self._since[stream] = 0
        unsettled = self._overtaken.is_unsettled(stream, now, position)
        if unsettled and (there := self._count(stream, NOWHERE, position)) < MOST_COUNTED:
            self._overtaken.settle(stream, now, group, there)
        return self._was_set(stream, now, group) + self._overtaken.skipped(stream, now, group)

    def _set_back(self, stream: bytes, now: Extent, position: Place) -> None:
        """Set the group back where it is beyond the stream's end; who else reads for it may have done so."""
        right = self._read.put_right(stream, now, position, self._name)
        reply = self._client.ask("EVAL", SET_BACK, 1, stream, self._name, entry_of(position), entry_of(right))
        if isinstance(reply, ResponseError):
            raise SinkUnavailable(self._client.explain_reply(reply, stream))
        self._counted.discard(stream)
        self.last[stream] = right

    def _was_set(self, stream: bytes, now: Extent, group: dict[bytes, Any]) -> int:
        """Notice `XGROUP SETID`: Redis forgets then how many the group has read."""
        position, counted = place(group[b"last-delivered-id"]), group.get(b"entries-read") is not None
        was_counted = stream in self._counted
        (self._counted.add if counted else self._counted.discard)(stream)
        before, self.last[stream] = self.last[stream], position
        if counted or not was_counted or now.added is None or position == before:
            return 0
        ahead = position > before
        what = "ahead, past entries that it had not read" if ahead else "back: entries come again"
        tell(self._name, stream, f"was set {what} (XGROUP SETID), to {entry_of(position).decode()}")
        return self._count(stream, before, position) if ahead else 0

    def _count(self, stream: bytes, after: Place, until: Place) -> int:
        """Return how many entries there are after one and up to another: MOST_COUNTED at most."""
        reply = self._client.ask("EVAL", COUNT, 1, stream, b"(" + entry_of(after), entry_of(until))
        return reply if isinstance(reply, int) else 1


def tell(group: str, stream: bytes, what: str) -> None:
    """Tell what others have done to the group."""
    text = f"the group {group!r} of the stream {stream.decode(errors='replace')!r} {what}"
    notices.tell("group-made", text, subject=f"{group} {stream!r}", logger="celery_event_bridge.reader")
