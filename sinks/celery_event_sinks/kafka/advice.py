"""Advice on how a topic may lose what it has confirmed: a finding for each of its properties that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka.admin import TopicDescription

from celery_event_bridge.contract import Finding
from celery_event_bridge.contract.values import counted
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.times import (
    AFTER,
    BEFORE,
    CLEANUP,
    DIFFERENCE,
    FOR_EVER,
    RETENTION,
    TYPE,
    number,
    removes,
)

MIN_REPLICAS, RETENTION_BYTES = "min.insync.replicas", "retention.bytes"
DAY, HOUR = 86_400_000, 3_600_000
"""Milliseconds. In a day overflow's default of 4 GiB is full at some 40 messages a second: it can hold back events for
so long, and a reader may be away for a night.
"""
FEW_BYTES = 2**30


def findings(name: str, topic: TopicDescription, config: Mapping[str, str] | None) -> Iterator[Finding]:
    """Say what is wrong with a topic; `config` is None where we may not see it."""
    copies = min((len(partition.replicas) for partition in topic.partitions), default=0)
    if copies < 2:
        yield _warn(f"topic {name!r} has one replica: what it has confirmed is lost with that broker's disk")
    if config is None:
        yield _warn(
            f"topic {name!r}: no permission to see its properties, which may let it lose events; grant DESCRIBE_CONFIGS"
        )
        return
    if copies >= 2 and int(config.get(MIN_REPLICAS, 2)) < 2:
        yield _warn(f"topic {name!r} has {MIN_REPLICAS}=1: one broker alone may confirm; set it to 2")
    if copies < (wanted := int(config.get(MIN_REPLICAS, 1))):
        yield _warn(
            f"topic {name!r} has {counted(copies, 'replica')} and {MIN_REPLICAS}={wanted}: a Kafka before 3.7 takes no "
            "record of the bridge's, ever, and a newer one what all its replicas have: give it more of them "
            f"(kafka-reassign-partitions.sh), or set {MIN_REPLICAS} to {copies}"
        )
    if "compact" in config.get(CLEANUP, ""):
        text = f"topic {name!r} has {CLEANUP}={config[CLEANUP]}: of each task only the last event is kept"
        yield Finding("FAIL", f"{text}; set {CLEANUP}=delete")
    yield from _of_age(name, config)


def unused(settings: KafkaSettings) -> Iterator[Finding]:
    """Say that settings of TLS, or of a login, are there and do nothing."""
    protocol = settings.properties().get("security.protocol", "plaintext")
    of_login, given = (
        [f"BRIDGE_KAFKA_{name.upper()}" for name in sorted(settings.model_extra or {}) if name.startswith(prefix)]
        for prefix in ("sasl_", "ssl_")
    )
    if of_login and "sasl" not in protocol.lower():
        with_login = "SASL_SSL" if given or "ssl" in protocol.lower() else "SASL_SSL, or to SASL_PLAINTEXT"
        yield _warn(
            f"{of_login[0]} is set, and BRIDGE_KAFKA_SECURITY_PROTOCOL={protocol} logs nobody in: whoever reaches the "
            f"port may write and read; set it to {with_login}"
        )
    if given and "ssl" not in protocol.lower():
        yield _warn(
            f"{given[0]} is set, and BRIDGE_KAFKA_SECURITY_PROTOCOL={protocol} uses no TLS: events travel in the "
            f"clear; set it to {'SASL_SSL' if 'sasl' in protocol.lower() else 'SSL'}"
        )


def _of_age(name: str, config: Mapping[str, str]) -> Iterator[Finding]:
    kept, size = number(config, RETENTION), number(config, RETENTION_BYTES)
    if removes(config) and kept < DAY:
        yield _warn(
            f"topic {name!r} has {RETENTION}={kept}: events are removed {_span(kept)} after they are stored, while "
            "overflow can hold back an outage of a day and more; readers that are away for longer miss some; set a day "
            "at least"
        )
    if removes(config) and size < FEW_BYTES:
        yield _warn(
            f"topic {name!r} has {RETENTION_BYTES}={size}: a partition's oldest events are removed past that, however "
            "new they are; leave it at -1"
        )
    if config.get(TYPE) == "LogAppendTime":
        return
    for setting, least in ((BEFORE, DAY), (AFTER, HOUR), (DIFFERENCE, DAY)):
        limit = number(config, setting)
        if limit < min(least, FOR_EVER):
            yield _warn(
                f"topic {name!r} has {setting}={limit}: it refuses records whose time differs by more than "
                f"{_span(limit)}; events of such times get the time of now, with their own in ce_time; "
                "none is stored while this machine's clock differs by more"
            )


def _warn(text: str) -> Finding:
    return Finding("warn", text)


def _span(milliseconds: int) -> str:
    for unit, size in (("h", HOUR), ("min", 60_000), ("s", 1000)):
        if milliseconds >= size:
            return f"{milliseconds / size:g} {unit}"
    return f"{milliseconds} ms"
