"""A connection by kombu, with the exchange, the bridge's queue and the binding between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from kombu.connection import Connection
from kombu.entity import Exchange
from kombu.exceptions import KombuError

from celery_event_bridge.brokers.kombu.settings import MONGODB
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_of, hide_secrets

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings

IN_TIME = {"serverSelectionTimeoutMS": "3000", "connectTimeoutMS": "3000", "socketTimeoutMS": "5000"}
"""Options of a MongoDB's URL, without which a call waits for half a minute or for ever."""
EVERYTHING = "#"
"""Routing key of the binding."""


class Link:
    """Connection to the broker, with one channel. Made connected; every method may raise BrokerUnavailable."""

    def __init__(self, settings: Settings) -> None:
        """Connect. Raises BrokerUnavailable."""
        self._settings = settings
        self._exchange: Any = Exchange(settings.event_exchange, type="topic")  # type: ignore[no-untyped-call]
        self._connection: Any = Connection(  # type: ignore[no-untyped-call]
            _url(settings), transport_options=settings.broker_transport_options
        )
        self._errors: tuple[type[BaseException], ...] = (KombuError, OSError, ValueError, KeyError)
        try:
            with self.translated():
                self._errors += (*self._connection.connection_errors, *self._connection.channel_errors, *_clients())
                self.channel: Any = self._connection.channel()  # type: ignore[no-untyped-call]
        except BaseException:
            self.close()
            raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise BrokerUnavailable for what kombu and its clients raise."""
        try:
            yield
        except self._errors as exc:
            said = hide_of(hide_secrets(str(exc)), self._settings.broker_url)
            said = " ".join(said.split())[:300] or type(exc).__name__
            raise BrokerUnavailable(f"{self._settings.scheme}: {said}") from exc

    def declare(self, queue: str) -> None:
        """Declare a queue, and bind it to the exchange of the events."""
        with self.translated():
            self._exchange(self.channel).declare()
            self.channel.queue_declare(queue)
            if queue not in self.bound():
                # By kombu's own account of this process it may be bound, and the broker knows nothing of it any more.
                self.channel.state.binding_delete(queue, self._settings.event_exchange, EVERYTHING)
                self.channel.queue_bind(queue, self._settings.event_exchange, EVERYTHING)

    def bound(self) -> frozenset[str]:
        """Return the queues that are bound to the exchange."""
        with self.translated():
            return frozenset(str(row[-1]) for row in self.channel.get_table(self._settings.event_exchange))

    def delete(self, queue: str) -> None:
        """Delete a queue with its binding and what is in it, also where another process has bound it."""
        with self.translated():
            self._exchange(self.channel).declare()
            self.channel.state.binding_declare(queue, self._settings.event_exchange, EVERYTHING, None)
            self.channel.queue_delete(queue)

    def exchange_is_there(self) -> None:
        """Make the exchange known to this process, as kombu keeps its type here."""
        with self.translated():
            self._exchange(self.channel).declare()

    def close(self) -> None:
        """Disconnect. Never raises."""
        try:
            self._connection.release()
        except self._errors:
            return


def _url(settings: Settings) -> str:
    """Return the URL with bounds on what a call to a MongoDB takes, where it has none."""
    url = settings.broker_url
    if settings.scheme not in MONGODB:
        return url
    before, mark, query = url.partition("?")
    names = {part.partition("=")[0].lower() for part in query.split("&")}
    added = [f"{name}={value}" for name, value in IN_TIME.items() if name.lower() not in names]
    if not mark and before.count("/") < 3:
        before += "/"  # parameters come behind a path
    return f"{before}?{'&'.join([*([query] if query else []), *added])}"


def _clients() -> Iterator[type[BaseException]]:
    if find_spec("pymongo") is not None:
        from pymongo.errors import PyMongoError

        yield PyMongoError
