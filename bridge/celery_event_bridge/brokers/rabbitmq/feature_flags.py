"""Feature flag `stream_queue` of RabbitMQ: without it a dead-letter strategy is taken, and does nothing.

A node that was upgraded from 3.8 or 3.9 has it off until somebody enables it: an event that expires is then dropped
where overflow does not take it. RabbitMQ tells over AMQP who asks for a stream: of a queue that could not
be one whatever happens, it first says that the flag is off, and closes the connection (seen with 3.10.8; 4.0.5 refuses
the queue itself, as 3.10.8 does with the flag on). Nothing is declared by it.

A queue that was declared before the flag was enabled goes on dropping until a policy is set on it, which may be cleared
again; a restart of the node is not enough (seen with 3.10.8). Nobody can ask a queue for that.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from amqp.exceptions import AMQPError, InternalError

from celery_event_bridge.brokers.rabbitmq.background import Background
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

ALWAYS_ON = (3, 12)
"""First version that does not start without the flag."""
A_DAY = 86_400.0
EVERY = 60.0
"""Seconds between two questions while it is off."""
OFF = "feature flag is disabled"


def text(live: str) -> str:
    """Say that the flag is off, what comes of it, and what to do."""
    return (
        f"RabbitMQ's feature flag `stream_queue` is off: queue {live!r} drops what expires while overflow is missing "
        "or full. Say `rabbitmqctl enable_feature_flag all` there, as after each upgrade; then set a policy on it, any "
        f"one, as a queue that is there goes by the flag only then: `rabbitmqctl set_policy --apply-to queues {live} "
        f"'^{re.escape(live)}' '{{\"delivery-limit\":1000000}}'`"
    )


def concerned(settings: Settings, connection: amqp.Connection) -> bool:
    """Return whether there is something to ask: a route to overflow that is at least once, on a node that old."""
    version = re.findall(r"\d+", str(connection.server_properties.get("version", "")))[:2]
    old = tuple(map(int, version)) < ALWAYS_ON
    return old and settings.queue_type == "quorum" and bool(settings.queue_ttl)


def is_off(settings: Settings, url: str) -> bool:
    """Ask on a connection of its own, since the answer may close it. Raises BrokerUnavailable.

    Without the right to declare the name nobody knows, and it counts as on.
    """
    connection = connect(settings, url, role="look")
    try:
        channel = connection.channel()
        channel.queue_declare(f"{settings.queue}.trial", durable=False, arguments={"x-queue-type": "stream"})
    except InternalError as exc:
        return OFF in str(exc.reply_text)
    except (AMQPError, OSError):
        return False
    finally:
        abandon(connection)
    return False


class FlagWatch:
    """Tells of the flag while a bridge runs, once a day, and that it is on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asking: Background | None = None

    def open(self, connection: amqp.Connection, url: str) -> None:
        """Begin with a connection just made, to that URL."""
        concerns = concerned(self._settings, connection)
        self._asking = Background(partial(self._ask, url), EVERY) if concerns else None

    def look(self) -> None:
        """Ask if it is time to. Returns at once."""
        if self._asking is not None:
            self._asking.run_if_due()

    def _ask(self, url: str) -> None:
        live = self._settings.queue
        try:
            off = is_off(self._settings, url)
        except BrokerUnavailable:  # whoever consumes tells of it
            return
        if off:
            notices.tell("feature-flag", text(live), subject=live, every=A_DAY)
        else:
            notices.over(
                "feature-flag",
                f"RabbitMQ's feature flag `stream_queue` is on: set a policy on queue {live!r}, if none was set since",
                subject=live,
            )
            self._asking = None  # nobody can disable one
