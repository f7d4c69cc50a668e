"""Number of bridges that consume a queue, so that a consumer that is none is seen: it takes events away in silence.

Each bridge consumes an empty queue beside the live one for as long as it is connected. The live queue has no more
consumers than that one, unless somebody else is among them. The management API, where it can be asked, knows them by
their tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError

from celery_event_bridge.contract import notices
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import amqp

OUR_TAG = "celery-event-bridge."
"""Beginning of the tags of our consumers."""
LOOKS = 3
"""Looks in a row at which there are too many: bridges come and go."""


def presence_queue(live: str) -> str:
    """Return the name of the queue that each bridge consumes."""
    return f"{live}.bridges"


class Presence:
    """The part of one bridge, renewed with each connection."""

    def __init__(self, live: str) -> None:
        self._live = live
        self._name = presence_queue(live)
        self._connection: amqp.Connection | None = None
        self._is_cancelled = False
        self._seen = 0
        self._told = False

    def open(self, connection: amqp.Connection) -> None:
        """Be counted from now on; call it before anything is consumed. Without the right to, nobody is told of."""
        self._connection, self._seen, self._is_cancelled = None, 0, False
        try:
            channel = connection.channel()
            channel.queue_declare(self._name, durable=True, auto_delete=True, arguments={"x-max-length": 1})
            # Without a callback a cancel would be an error of the connection.
            channel.basic_consume(self._name, on_cancel=self._cancelled)
        except ChannelError:
            return
        self._connection = connection

    def look(self, consumers: int) -> None:
        """Compare with the consumers of the live queue. Raises what the client raises."""
        if self._connection is None:
            return
        if self._is_cancelled:
            self.open(self._connection)
            return
        try:
            channel = self._connection.channel()
            bridges = int(channel.queue_declare(self._name, passive=True).consumer_count)
            channel.close()
        except ChannelError:  # somebody has deleted it
            self.open(self._connection)
            return
        self._seen = self._seen + 1 if consumers > bridges else 0
        if self._seen >= LOOKS:
            self._told = True
            notices.tell(
                "competitor",
                f"queue {self._live!r} has {counted(consumers, 'consumer')} and {bridges} of them at most "
                f"are bridges: {_LOSES}",
                subject=f"{self._live} consumers",
            )
        elif self._told and not self._seen:
            self._told = False
            notices.over("competitor", f"only bridges consume queue {self._live!r}", subject=f"{self._live} consumers")

    def _cancelled(self, _: str) -> None:
        """Take note that somebody has deleted the queue."""
        self._is_cancelled = True


_LOSES = "what another consumer takes is not stored. Stop it, or give it a queue of its own"


def foreign(queue: str, found: Mapping[str, Any]) -> Iterator[str]:
    """Say which consumers of a queue are no bridges', by what the management API has of it."""
    for each in found.get("consumer_details") or ():
        if not str(each.get("consumer_tag", "")).startswith(OUR_TAG):
            channel = each.get("channel_details") or {}
            yield (
                f"queue {queue!r} has a consumer that is no bridge: tag {each.get('consumer_tag')!r} of user "
                f"{channel.get('user', '?')!r} from {channel.get('peer_host', '?')}: {_LOSES}"
            )
