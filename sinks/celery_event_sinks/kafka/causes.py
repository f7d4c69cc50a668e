"""Causes that keep a client from every broker, as librdkafka tells them, and what to do about each.

It tells of each connection by itself, `host:port/bootstrap` or `host:port/ID`, and then only that all brokers are down.
"""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from celery_event_bridge.contract.values import with_remedy
from celery_event_sinks.kafka.errors import AFTER, CAUSES, is_refusal, reason_of
from celery_event_sinks.kafka.settings import KafkaSettings

_BROKER = re.compile(r"(?:\w+://)?(?P<address>\S+)/(?P<id>bootstrap|\d+): (?P<text>.*)", re.DOTALL)
_REMEDIES = {
    "alert certificate expired": "the client's certificate, BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION, has expired",
    "alert": "it wants a client's certificate that it knows, in BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION and "
    "BRIDGE_KAFKA_SSL_KEY_LOCATION",
    "PLAINTEXT broker listener": "it speaks no TLS on that port: BRIDGE_KAFKA_SECURITY_PROTOCOL is PLAINTEXT or "
    "SASL_PLAINTEXT there",
}
"""By a part of the text, the first one that is there."""
_THERE = "is it there, and is the address right?"
_NOTHING_SAID = (
    "it takes the connection and closes it without a word: is it a port for TLS (BRIDGE_KAFKA_SECURITY_PROTOCOL=SSL), "
    "one for a login (SASL_PLAINTEXT, SASL_SSL), or one of another program's?"
)


class Causes:
    """Memory of one client. Once a broker has answered, what is heard is of an outage, and not of wrong settings."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._where = settings.bootstrap_servers
        self.telling = ""
        """Error of a login, of TLS, or of a name, which says by itself what is wrong; or the empty text."""
        self.refuses = False
        """True if that is a refusal of this login, which another attempt does not mend."""
        self._bootstrap = ""
        self._advertised = ""
        self._is_down = False
        self._has_answered = False

    def hear(self, error: KafkaError) -> None:
        """Take note of what librdkafka tells."""
        if error.code() in CAUSES:
            self.telling, self.refuses = reason_of(error), is_refusal(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._is_down = True
        elif error.code() == KafkaError._TRANSPORT and (found := _BROKER.match(AFTER.sub("", error.str()))):
            text = found["text"]
            remedy = next((remedy for part, remedy in _REMEDIES.items() if part in text), "")
            said = with_remedy(text, remedy)
            if found["id"] != "bootstrap":
                self._advertised = f"broker {found['id']} is at {found['address']}, where it fails: {said}"
            elif remedy or not self._bootstrap:  # of two for one connection the one with a remedy
                self._bootstrap = said

    def answered(self) -> None:
        """Forget what was heard."""
        self.telling = self._bootstrap = self._advertised = ""
        self._is_down, self._has_answered = False, True
        self.refuses = False

    def reason(self) -> str:
        """Return what is known, in a line."""
        if self.telling:
            return self.telling
        if self._bootstrap.startswith("Connect to "):
            return with_remedy(f"no Kafka broker answers at {self._where}: {self._bootstrap}", _THERE)
        if self._bootstrap:
            return f"Kafka at {self._where} cannot be used: {self._bootstrap}"
        if self._advertised and not self._has_answered:
            return (
                f"Kafka at {self._where} answers and says that its {self._advertised}; its advertised.listeners have "
                "to be addresses that can be reached from here"
            )
        if self._is_down and not self._has_answered:
            return f"Kafka at {self._where} cannot be used: {_NOTHING_SAID}"
        return f"no Kafka broker answers at {self._where}: {_THERE}"
