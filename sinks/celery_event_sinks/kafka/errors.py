"""librdkafka errors: those that Kafka will say again, those that keep every broker away, and how one is told."""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from celery_event_bridge.contract.values import with_remedy

PERMANENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
    }
)
"""Kafka will say the same again. It says so of a whole batch: see `KafkaSink`."""
CLOCKS = "compare the clocks of this machine and of Kafka's, and the topic's message.timestamp.* properties"
"""Remedy where a topic refuses the time of now."""
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
CAUSES = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE})
"""Causes that keep every broker away, beyond that nobody listens."""
DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
"""A right is missing: told once, and so until something can be read or written."""
AFTER = re.compile(r" \(after \d+ms(?:[^()]|\([^()]*\))*\)")
"""Pattern of how long an error took and how often it was so: with it, each would be news."""
UNVERIFIED = "certificate verify failed"
_NOT_THERE = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})
_MECHANISMS = re.compile(r"broker's supported mechanisms: ?(?P<names>\S*)")


def reason_of(error: KafkaError, right: str = "", on: str = "") -> str:
    """Return one line about it, with what to do where that is known: the `right` that it takes, `on` what, where one
    is missing.
    """
    text = f"{error.name()}: {AFTER.sub('', error.str())}"
    remedy = _remedy_of(error, text)
    if right and (error.code() in DENIED or "uthorization failed" in text):
        remedy = f"grant {right} on {on} to this user"
    return with_remedy(text, remedy)


def is_refusal(error: KafkaError) -> bool:
    """Return whether it is a login, or a certificate, that another attempt does not mend."""
    return error.code() == KafkaError._AUTHENTICATION or UNVERIFIED in error.str()


def _remedy_of(error: KafkaError, text: str) -> str:
    if UNVERIFIED in text:
        return (
            "BRIDGE_KAFKA_SSL_CA_LOCATION has to be the CA that signed its certificate, and the host has to be named "
            "in it"
        )
    if error.code() in _NOT_THERE:
        return "is Kafka there, and the address right?"
    if error.code() != KafkaError._AUTHENTICATION:
        return ""
    if found := _MECHANISMS.search(text):
        if found["names"]:
            return f"BRIDGE_KAFKA_SASL_MECHANISM has to be {found['names'].replace(',', ' or ')}"
        return (
            "nobody logs in on that port: BRIDGE_KAFKA_SECURITY_PROTOCOL is PLAINTEXT there, or SSL, or "
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS has to name another one"
        )
    return "check BRIDGE_KAFKA_SASL_USERNAME and BRIDGE_KAFKA_SASL_PASSWORD"
