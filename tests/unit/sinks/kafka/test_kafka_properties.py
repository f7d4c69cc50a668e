"""Properties of librdkafka: judged one by one without a client, and together by the first client that is made."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Producer

from celery_event_sinks.kafka import properties
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.commands import invoke
from tests.support.kafka_settings import error, kafka

NOT_TOGETHER = {
    "a file that is not there": (
        {"SECURITY_PROTOCOL": "SSL", "SSL_CA_LOCATION": "/nowhere/ca.pem"},
        "BRIDGE_KAFKA_SSL_CA_LOCATION=/nowhere/ca.pem: ssl.ca.location failed: ",
    ),
    "a key that is none": (
        {"SECURITY_PROTOCOL": "ssl", "SSL_KEY_PEM": "open-sesame"},
        "BRIDGE_KAFKA_SSL_KEY_PEM=**: ",
    ),
    "a pause beyond the longest": (
        {"RECONNECT_BACKOFF_MS": "20000"},
        "BRIDGE_KAFKA_RECONNECT_BACKOFF_MS=20000: `reconnect.backoff.max.ms` must be >= `reconnect.backoff.ms`",
    ),
}


def test_validating_makes_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has threads, and `settings` wants none: each question ends with a name that is refused."""
    asked, made = [], []

    def counted(given: dict[str, Any]) -> Producer:
        asked.append(given)
        made.append(producer := Producer(given))
        return producer

    monkeypatch.setattr(properties, "Producer", counted)
    kafka(LINGER_MS="20", COMPRESSION_TYPE="zstd", SECURITY_PROTOCOL="SASL_SSL", SASL_MECHANISM="OAUTHBEARER")
    error(LINGER_MS="soon")
    assert asked
    assert [] == made


def test_all_that_is_wrong_is_said_at_once() -> None:
    """A line for each property, with the name of its variable, however librdkafka calls it."""
    lines = error(LINGER_MS="soon", ACKS="1", COMPRESSION_TYPE="brotli", PARTITION="3").splitlines()
    begins = ["ACKS=1: ", "COMPRESSION_TYPE=brotli: ", "LINGER_MS=soon: ", "PARTITION: "]
    assert len(begins) == len(lines)
    for line, begin in zip(sorted(lines), begins, strict=True):
        assert line.startswith(f"BRIDGE_KAFKA_{begin}")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_a_login_without_a_password(mechanism: str) -> None:
    """What is missing is named by the variable."""
    line = error(SECURITY_PROTOCOL="sasl_ssl", SASL_MECHANISM=mechanism, SASL_USERNAME="u")
    assert line == f"BRIDGE_KAFKA_SASL_PASSWORD: set it: {mechanism.upper()} takes a user and a password"


@pytest.mark.parametrize("case", NOT_TOGETHER)
def test_properties_that_are_refused_together(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a client judges them so, which `run` makes before anything starts: a line, without a secret, and exit 2."""
    variables, wanted = NOT_TOGETHER[case]
    assert KafkaSink(kafka(**variables)).refusal().startswith(wanted)
    monkeypatch.setenv("BRIDGE_SINK", "kafka")
    for name, text in variables.items():
        monkeypatch.setenv(f"BRIDGE_KAFKA_{name}", text)
    code, text = invoke("run", "--broker-url", "amqp://127.0.0.1:1//", "--http", "off")
    assert (2, 1) == (code, len(text.splitlines()))
    assert wanted in text
    assert "sesame" not in text


def test_what_is_right_together_is_not_refused() -> None:
    """The defaults of ours are."""
    sink = KafkaSink(kafka())
    assert "" == sink.refusal()
    sink.close()
