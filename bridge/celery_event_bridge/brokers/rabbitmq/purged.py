"""Somebody's purge of the overflow queue, known while no bridge consumes it, as in an outage of the sink.

A queue that is consumed gets shorter, and AMQP has no word for by whose hand. So whoever consumes overflow leaves a
trace before: an empty queue that expires a while after, and an exchange that deletes itself with its binding to it,
since to ask for the queue would keep it. Where nobody consumes at a look, and the trace is gone within that while,
nobody has begun to since: what was ready then and is not any more has been purged, or dropped by a policy.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from amqp.exceptions import ChannelError, NotFound

from celery_event_bridge.contract import notices

if TYPE_CHECKING:
    import amqp

TRACE_FOR = 30.0
"""Seconds for which a trace stays after it was left."""
RENEWED_AFTER = 2.0
"""Seconds for which one that was left serves who consumes anew, as at the byte bound many times a second."""


def leave_trace(connection: amqp.Connection, live: str, seconds: float = TRACE_FOR) -> None:
    """Let other bridges of that live queue know that overflow is consumed from now on, for so many seconds.

    Where the right to declare it is missing, the others do not know. Raises what else the client raises.
    """
    arguments = {"x-expires": round(seconds * 1000), "x-max-length": 1}
    name = _trace(live)
    with suppress(ChannelError):
        channel = connection.channel()
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=True)
        channel.queue_bind(name, name)
        channel.close()


class Trace:
    """The one that a bridge leaves, on the connection that it has."""

    def __init__(self, live: str) -> None:
        self._live = live
        self._left_at = -TRACE_FOR

    def forget(self) -> None:
        """Take note that the connection is another one, and the broker perhaps too."""
        self._left_at = -TRACE_FOR

    def leave(self, connection: amqp.Connection) -> None:
        """Leave it, unless it was left just now. Raises what the client raises."""
        now = time.monotonic()
        if now - self._left_at >= RENEWED_AFTER:
            leave_trace(connection, self._live)
            self._left_at = now


class PurgeWatch:
    """Compares one look at overflow with the last one."""

    def __init__(self, live: str, overflow: str, trace_for: float = TRACE_FOR - RENEWED_AFTER) -> None:
        self._trace = _trace(live)
        self._overflow = overflow
        self._trace_for = trace_for
        self._before: tuple[float, int] | None = None
        """Time when nobody consumed it, and how many messages were ready."""
        self._missing: tuple[float, int] | None = None
        """Since which look messages are missing, and how many, as long as others may have taken them."""

    def forget(self) -> None:
        """Take note that it is consumed, or that the connection is another one."""
        self._before = self._missing = None

    def look(self, connection: amqp.Connection, at: float, messages: int, consumers: int) -> None:
        """Tell of what is gone, with nothing of it consumed by us. `at`: when the look at the depths began.

        Raises what the client raises.
        """
        if consumers:
            self.forget()
            return
        before, self._before = self._before, (at, messages)
        if before is not None and messages < before[1] and (ready := self._count(connection)) is not None:
            since, missing = self._missing or (before[0], 0)
            self._missing = (since, missing + max(0, before[1] - max(messages, ready)))
        self._tell(connection)

    def _tell(self, connection: amqp.Connection) -> None:
        if self._missing is None:
            return
        since, missing = self._missing
        traced = self._is_traced(connection)
        if time.monotonic() > since + self._trace_for or not missing:
            self._missing = None  # somebody may have begun since, and left
        elif not traced:
            self._missing = None
            notices.tell(
                "purged",
                f"{missing} messages are gone from queue {self._overflow!r} that no bridge has taken: it was purged, "
                "somebody else has taken them, or a policy drops them",
                subject=self._overflow,
                count=missing,
            )

    def _is_traced(self, connection: amqp.Connection) -> bool:
        try:
            channel = connection.channel()
            channel.exchange_declare(self._trace, "fanout", passive=True)
        except NotFound:
            return False
        except ChannelError:
            return True  # nobody can tell
        channel.close()
        return True

    def _count(self, connection: amqp.Connection) -> int | None:
        """Return how many are ready, for sure; None where nobody can tell, as without the right to read.

        A quorum queue without a leader is said to hold nothing; so a message is asked for, and given back.
        """
        try:
            channel = connection.channel()
            message = channel.basic_get(self._overflow)
            if message is None:
                channel.close()
                return 0
            channel.basic_reject(message.delivery_tag, requeue=True)
            found = channel.queue_declare(self._overflow, passive=True)
        except ChannelError:
            return None
        channel.close()
        # The one that was given back may not be ready again yet.
        return int(found.message_count) + 1


def _trace(live: str) -> str:
    return f"{live}.drained"
