"""Queues under our names that somebody has declared with other arguments: what differs, and whether they can be used.

RabbitMQ names one difference at a time, and shows arguments to nobody over AMQP. So each one that it names is taken
over and the same asked again, with a type that no queue can have: it is refused whatever happens meanwhile, and never
declares anything. Of a queue's arguments RabbitMQ compares those alone that its type knows, and the type with the last
of them (seen with 3.10.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from amqp.exceptions import ChannelError, PreconditionFailed

from celery_event_bridge.brokers.rabbitmq.topology import Mismatch, QueueSpec, mismatch
from celery_event_bridge.contract import notices

if TYPE_CHECKING:
    import amqp

TYPE = "x-queue-type"
IMPOSSIBLE = "no-such-type"
MOST = 20
"""Differences that are asked for."""
_WHOLE = re.compile(r"-?\d+")

Differences = Mapping[str, tuple[str, str]]
"""By argument: what the queue has, and what was asked for."""


def differences(connection: amqp.Connection, queue: QueueSpec, refusal: str = "") -> Differences:
    """Return in what a queue that is there differs from what is asked; `refusal` is what the broker has said already.

    Raises what the client raises.
    """
    found: dict[str, tuple[str, str]] = {}
    if first := mismatch(refusal):
        found[first.argument] = (first.found, first.asked)
    asked: dict[str, Any] = {**queue.arguments, TYPE: IMPOSSIBLE}
    flags = {"durable": True, "auto_delete": False}
    for _ in range(MOST):
        named = _first(connection, queue.name, asked, flags)
        if named is None:
            break
        if named.argument == TYPE:
            wanted = str(queue.arguments.get(TYPE, "none"))
            if named.found != wanted:
                found[TYPE] = (named.found, wanted)
            break
        found[named.argument] = (named.found, named.asked)
        if named.argument in flags:
            flags[named.argument] = named.found == "true"
        elif named.found == "none":
            asked.pop(named.argument, None)
        else:
            asked[named.argument] = _typed(named.found)
    return found


def _first(
    connection: amqp.Connection, name: str, arguments: Mapping[str, Any], flags: Mapping[str, bool]
) -> Mismatch | None:
    """Return the first difference that the broker names."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, arguments=dict(arguments), **flags)
    except PreconditionFailed as exc:
        return mismatch(str(exc.reply_text))
    channel.close()
    return None


def queue_type(connection: amqp.Connection, name: str) -> str:
    """Return `quorum`, `stream`, or else what a classic queue has, which names no type in old versions.

    Raises what the client raises.
    """
    return differences(connection, QueueSpec(name, {})).get(TYPE, ("", ""))[0]


def listed(found: Differences) -> str:
    """Return the differences as an operator reads them."""
    return ", ".join(f"{name}={is_so} (the settings ask for {asked})" for name, (is_so, asked) in found.items())


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
        found = differences(connection, queue, str(refusal.reply_text))
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


def _typed(value: str) -> Any:
    if _WHOLE.fullmatch(value):
        return int(value)
    return {"true": True, "false": False}.get(value, "" if value == "''" else value)
