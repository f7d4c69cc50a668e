"""Memory and disk alarms of RabbitMQ, under which it takes no events: told of while a bridge runs.

RabbitMQ tells of an alarm those connections alone that publish, with the next message that they have published (seen
with 3.10.8 and 4.0.5), and reads nothing more from them until it is over. A connection that consumes must not be one of
them: its acknowledgements would wait too. So this is a connection of its own, on which now and then something is
published that no queue gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqp.basic_message import Message
from amqp.exceptions import AccessRefused, AMQPError

from celery_event_bridge.brokers.rabbitmq.background import Background
from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect
from celery_event_bridge.contract import LOOK_INTERVAL, notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

ANSWER = 3.0
"""Seconds for a confirm, or for the word that publishers are blocked."""
TURN = 0.2
"""Seconds to listen while they are."""


class AlarmWatch:
    """Watch on one broker at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._background = Background(self._ask, LOOK_INTERVAL)
        self._url = ""
        """URL to which the bridge is connected; empty while it is not."""
        self._at = ""
        """URL to which the connection below leads."""
        self._connection: amqp.Connection | None = None
        self._confirms: Confirms[None] | None = None
        self._refused_at = ""
        """URL of the broker where we may not publish."""
        self._blocked = False

    def open(self, url: str) -> None:
        """Watch the broker of this URL from now on."""
        self._url = url

    def look(self) -> None:
        """Ask if it is time to. Returns at once."""
        if self._url != self._refused_at:
            self._background.run_if_due()

    def close(self) -> None:
        """Let go of the broker. A thread that asks at this moment finds its connection closed."""
        self._url = ""
        abandon(self._connection)

    def _ask(self) -> None:
        url = self._url
        if url != self._at:
            self._forget()
        if not url:
            return
        try:
            if self._connection is None:
                self._connect(url)
            self._listen()
        except AccessRefused:
            self._refused_at = url
            self._forget()
        except (BrokerUnavailable, AMQPError, OSError, AttributeError):  # the last of a connection closed meanwhile
            self._forget()
        if self._url != url:
            self._forget()  # let go of meanwhile

    def _connect(self, url: str) -> None:
        # No heartbeat: nobody would tick it between two questions.
        self._connection = connect(self._settings, url, role="alarms", heartbeat=0)
        self._at = url
        self._connection.on_blocked = self._on_blocked
        self._connection.on_unblocked = self._on_unblocked
        self._confirms = Confirms(self._connection.channel())

    def _listen(self) -> None:
        """Publish something that no queue gets, if nothing is on its way; take what comes."""
        connection, confirms = self._connection, self._confirms
        assert connection is not None
        assert confirms is not None
        if not confirms.waiting:
            confirms.publish(None, Message(b""), f"{self._settings.queue}.probe", mandatory=False)
        # While it blocks the confirm comes once it is over.
        deadline = Deadline(TURN if self._blocked else ANSWER)
        while confirms.waiting and not deadline.passed and not (self._blocked and deadline.left() > TURN):
            try:
                connection.drain_events(timeout=max(0.01, deadline.left()))
            except TimeoutError:
                break
        if self._blocked:
            self._tell()
        elif confirms.waiting:
            self._forget()  # no answer, and no word of an alarm: the connection is of no use
        else:
            notices.over("alarm", "RabbitMQ takes messages again: the alarm is over", subject=self._settings.queue)

    def _tell(self) -> None:
        notices.tell(
            "alarm",
            "RabbitMQ blocks who publishes (a memory or disk alarm): it takes no events, and workers lose theirs when "
            "they give up; what is in its queues is stored. `rabbitmq-diagnostics alarms` says which: give that node "
            "memory or disk, or see to what fills them",
            subject=self._settings.queue,
        )

    def _on_blocked(self, _reason: str) -> None:
        self._blocked = True

    def _on_unblocked(self) -> None:
        self._blocked = False

    def _forget(self) -> None:
        abandon(self._connection)
        self._connection = self._confirms = None
        self._at, self._blocked = "", False  # the next answer says whether it is over
