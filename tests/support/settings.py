"""Settings loaded from variables, and the error where they are wrong."""

from __future__ import annotations

import pytest

from celery_event_bridge.brokers.rabbitmq import settings as rabbitmq_settings
from celery_event_bridge.config.loading import SettingsError, load
from celery_event_bridge.config.settings import Settings

SINKS_OF_OURS = ("kafka", "redis", "sqlite", "stdout")


def settings(**variables: str) -> Settings:
    return load(variables).settings


def rabbitmq(**variables: str) -> rabbitmq_settings.Settings:
    _, made = load(variables).broker
    assert isinstance(made, rabbitmq_settings.Settings)
    return made


def error(**variables: str) -> str:
    with pytest.raises(SettingsError) as failure:
        load(variables)
    return str(failure.value)


def listing(**variables: str) -> list[str]:
    return [f"{name}={text}" for name, text in load(variables).effective().items()]


def unused(**variables: str) -> list[str]:
    return [*load(variables).unused]
