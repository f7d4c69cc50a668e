"""Certificates and passwords that others renew: a client reads them once, so a new one has to be made."""

from __future__ import annotations

from collections.abc import Hashable

from confluent_kafka import KafkaError

from celery_event_sinks.kafka.settings import KafkaSettings

REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})
"""Errors of a login, or of a TLS handshake."""


class Login:
    """Login of the present client: what it is made with, and whether it is let in."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.failure: str | None = None
        """Reason why the client is not let in, if it is not."""
        self.doubted = False
        """True from the moment when no broker is reached until something is: a server's refusal in TLS 1.3 can be lost
        with its connection, and nothing but the credentials themselves tells of it then."""
        self._used: Hashable = None
        self._is_news = False

    def begin(self) -> KafkaSettings:
        """Return the settings for a new client, with what came from files read again."""
        self.settings = self.settings.fresh()
        self._used = self.settings.credentials()
        self.failure, self.doubted, self._is_news = None, False, False
        return self.settings

    def failed(self, reason: str) -> None:
        """Take note that a broker has not let the client in."""
        self.failure, self._is_news = reason, True

    def is_renewed(self) -> bool:
        """Return whether a client that is not let in could be by now; asks the files once for each failure."""
        asks, self._is_news = self._is_news, False
        return asks and self.differs()

    def differs(self) -> bool:
        """Return whether what a login is made with is another than that of the present client."""
        return self.settings.credentials() != self._used
