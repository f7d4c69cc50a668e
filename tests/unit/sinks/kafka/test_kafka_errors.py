"""Sentences that what librdkafka says is put into."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from celery_event_sinks.kafka.errors import reason_of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "sasl_plaintext://h:9092/bootstrap: SASL handshake failed: broker's supported mechanisms:  (after 3ms)",
            "broker's supported mechanisms: nobody logs in on that port",
        ),
        (
            "sasl_plaintext://h:9092/1: SASL authentication error: Invalid user.  (after 3ms in state AUTH_REQ)",
            "Invalid user: check BRIDGE_KAFKA_SASL_USERNAME",
        ),
    ],
)
def test_a_remedy_follows_upon_what_librdkafka_says(text: str, said: str) -> None:
    """Whatever that ends with: no stop before a colon, no second colon, and one blank."""
    reason = reason_of(KafkaError(KafkaError._AUTHENTICATION, text))
    assert said in reason
    assert "  " not in reason
