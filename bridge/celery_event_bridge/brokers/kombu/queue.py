"""The bridge's queue as its source needs it, and the one of any transport: a message is gone from there on get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from celery_event_bridge.brokers.envelope import Heard
from celery_event_bridge.brokers.kombu.connection import Link
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings


MOST_LOOKS = 10_000
"""Messages that are asked for in one go."""


class Queue(Protocol):
    """Queue of the events. Every method but `drop` may raise BrokerUnavailable; `drop` follows then."""

    pause: float
    """Seconds between two looks at an empty queue."""

    def open(self) -> None:
        """Connect, declare the queue and bind it."""

    def take(self, lane: object, tag: int, most: int, most_bytes: int) -> Sequence[tuple[Any, Heard]]:
        """Take out messages, tagged from `tag` on, each with what the queue knows it by; at most so many and so large.

        Waits for nothing. One is returned whatever its size.
        """

    def forget(self, known_by: Any) -> None:
        """Let a message go for good."""

    def put_back(self, known_by: Any) -> None:
        """Have a message delivered again."""

    def size(self) -> int:
        """Return how many messages wait."""

    def look_after(self) -> None:
        """See that the queue is bound; called every few seconds."""

    def close(self) -> None:
        """Disconnect."""

    def drop(self) -> None:
        """Disconnect at once. Never raises."""


def tell_of_gap(settings: Settings) -> None:
    """Tell that the binding was gone."""
    notices.tell(
        "gap",
        f"queue {settings.queue} was not bound to the exchange {settings.event_exchange}, and is again: events may "
        "have passed by",
        subject="binding",
    )


class ChannelQueue:
    """See the protocol `Queue`. What is in hand is known to this process alone, and lost if it is killed."""

    def __init__(self, settings: Settings, pause: float) -> None:
        self._settings = settings
        self._name = settings.queue
        self._link: Link | None = None
        self._again: list[Any] = []
        """Messages that could not be put back, as the broker was away: they are taken first."""
        self.pause = pause

    @property
    def _linked(self) -> Link:
        if self._link is None:
            raise BrokerUnavailable("not connected")
        return self._link

    def open(self) -> None:
        """Connect."""
        self._link = Link(self._settings)
        self._link.declare(self._name)

    def take(self, lane: object, tag: int, most: int, most_bytes: int) -> Sequence[tuple[Any, Heard]]:
        """Take out messages. What kombu cannot take apart is none of its messages, and passed over."""
        taken: list[tuple[Any, Heard]] = []
        try:
            for message in self._messages():
                heard = _heard(message, lane, tag + len(taken))
                taken.append((message, heard))
                most_bytes -= len(heard.body)
                if len(taken) >= most or most_bytes <= 0:
                    break
        except BrokerUnavailable:
            if not taken:  # those are in hand, and gone from the broker
                raise
        return taken

    def forget(self, known_by: Any) -> None:
        """Do nothing: it is gone from the broker already."""

    def put_back(self, known_by: Any) -> None:
        """Put it behind the others, in our queue alone; kombu would put it into every queue that is bound."""
        put(self._linked, self._name, known_by)

    def size(self) -> int:
        """Return how many messages wait."""
        link = self._linked
        with link.translated():
            return int(link.channel.queue_declare(self._name, passive=True).message_count)

    def look_after(self) -> None:
        """Bind it again, where that is gone."""
        if self._name not in self._linked.bound():
            self._linked.declare(self._name)
            tell_of_gap(self._settings)

    def close(self) -> None:
        """Disconnect, with nothing left in this process."""
        while self._again:
            self.put_back(self._again[-1])
            self._again.pop()
        self.drop()

    def drop(self) -> None:
        """Disconnect."""
        if self._link is not None:
            self._link.close()
        self._link = None

    def keep(self, known_by: Sequence[Any]) -> None:
        """Keep messages that cannot be put back now, to be taken again by this process."""
        self._again += known_by

    def _messages(self) -> Iterator[Any]:
        link = self._linked
        while self._again:
            yield self._again.pop(0)
        for _ in range(MOST_LOOKS):
            try:
                with link.translated():
                    message = link.channel.basic_get(self._name, no_ack=True)
            except BrokerUnavailable as exc:
                if not isinstance(exc.__cause__, KeyError | ValueError):
                    raise
                # It is out of the queue, and kombu can take apart whatever kombu has published.
                text = f"a message dropped from {self._name}: none of kombu's, it cannot be taken apart"
                notices.tell("dropped", text, subject="queue", count=1)
                continue
            if message is None:
                return
            yield message


def put(link: Link, name: str, message: Any) -> None:
    """Publish a message of kombu's as it was into a queue of that name, and no other."""
    info = message.delivery_info or {}
    headers = dict(message.headers or {})
    properties = {key: value for key, value in (message.properties or {}).items() if key != "delivery_info"}
    with link.translated():
        prepared = link.channel.prepare_message(
            _bytes(message.body),
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=headers,
            properties={**properties, "delivery_info": dict(info)},
        )
        link.channel.basic_publish(prepared, exchange="", routing_key=name)


def _heard(message: Any, lane: object, tag: int) -> Heard:
    routing_key = (message.delivery_info or {}).get("routing_key") or ""
    return Heard(
        lane, tag, _bytes(message.body), message.content_type or "", message.headers or {}, routing_key=routing_key
    )


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body)
