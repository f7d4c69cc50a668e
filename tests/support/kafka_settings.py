"""Settings of Kafka's sink, loaded as `run` does."""

from __future__ import annotations

import pytest

from celery_event_bridge.config.loading import SettingsError, load
from celery_event_sinks.kafka.settings import KafkaSettings


def kafka(**variables: str) -> KafkaSettings:
    """Load the settings of `BRIDGE_KAFKA_*` with these."""
    loaded = load({"BRIDGE_SINK": "kafka"} | {f"BRIDGE_KAFKA_{name}": text for name, text in variables.items()})
    settings = loaded.sinks["kafka"][1]
    assert isinstance(settings, KafkaSettings)
    return settings


def error(**variables: str) -> str:
    """Return what is said of these, which are wrong."""
    with pytest.raises(SettingsError) as failure:
        kafka(**variables)
    return str(failure.value)
