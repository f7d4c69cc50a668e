"""Queues under our names that somebody has declared with other arguments: told of, and whether they can be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from amqp.exceptions import ChannelError, PreconditionFailed

from celery_event_bridge.brokers.rabbitmq.arguments import TYPE, differences, listed
from celery_event_bridge.contract import notices

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec


class DifferingQueues:
    """Tells of them, and remembers which cannot be consumed. One for each source."""

    def __init__(self, live: str) -> None:
        self._live = live
        self._known: dict[str, tuple[str, str]] = {}
        """By name: what the broker said, and what was made of it."""
        self.unusable: set[str] = set()
        """Names of those that are not to be consumed."""

    def found(self, connection: amqp.Connection, queue: QueueSpec, refusal: ChannelError) -> None:
        """Tell, once a minute, of a queue that the broker has refused to declare. Raises what the client raises."""
        reason = str(refusal.reply_text)
        known, text = self._known.get(queue.name, ("", ""))
        if known != reason:
            text = self._text(connection, queue, refusal)
            self._known[queue.name] = (reason, text)
        notices.tell("queue-differs", text, subject=queue.name, count=int(known != reason))

    def cannot_be_consumed(self, queue: str, refusal: Exception) -> None:
        """Tell, once a minute, that the broker lets nobody, or not us, consume a queue."""
        notices.tell(
            "queue-differs",
            f"queue {queue!r} cannot be consumed, and what is in it waits: {refusal}; live events are stored",
            subject=f"{queue} consumed",
        )

    def is_consumed(self, queue: str) -> None:
        """Tell that a queue can be consumed, if it could not."""
        notices.over("queue-differs", f"queue {queue!r} is consumed again", subject=f"{queue} consumed")

    def as_asked(self, names: Iterable[str]) -> None:
        """Take note of those that have our arguments."""
        for name in names:
            self.unusable.discard(name)
            if self._known.pop(name, None):
                notices.over("queue-differs", f"queue {name!r} has the arguments of the settings again", subject=name)

    def _text(self, connection: amqp.Connection, queue: QueueSpec, refusal: ChannelError) -> str:
        self.unusable.discard(queue.name)
        if not isinstance(refusal, PreconditionFailed):
            self.unusable.add(queue.name)
            return (
                f"queue {queue.name!r} belongs to somebody else's connection alone: {refusal.reply_text}; live events "
                "are stored, and what expires waits for it: have it deleted, then a bridge declares it anew"
            )
        found = differences(connection, queue.name, queue.arguments, str(refusal.reply_text))
        what = f"queue {queue.name!r} was declared by somebody with other arguments: {listed(found) or 'unknown ones'}"
        if found.get(TYPE, ("", ""))[0] == "stream":
            self.unusable.add(queue.name)
            return (
                f"{what}; a stream forgets nothing that is consumed, so that it is not: live events are stored, and "
                "what is in it can be read by a client of streams. Delete it, then a bridge declares it anew"
            )
        return (
            f"{what}; it is used as it is, and may lose what it holds. `celery-event-bridge queues migrate --from "
            f"{self._live}` with another BRIDGE_QUEUE moves to new queues; or delete it once it is empty, then a "
            "bridge declares it anew"
        )
