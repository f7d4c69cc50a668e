"""Names of variables: those of the core and of every broker there is share one prefix, a sink has its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_origin

from pydantic import BaseModel

from celery_event_bridge.config import plugins
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.validation import PREFIX


def models() -> tuple[type[BaseModel], ...]:
    """Return the models of the core and of every broker there is."""
    return Settings, *plugins.broker_settings()


def sink_prefix(name: str) -> str:
    """`BRIDGE_REDIS_` for the sink `redis`."""
    return f"{PREFIX}{name.upper().replace('-', '_')}_"


def field_of(variable: str, model: type[BaseModel], prefix: str = PREFIX) -> str | None:
    """Return the field of the model that the variable sets, if any."""
    field = variable.removeprefix(prefix).lower()
    return field if field in model.model_fields or model.model_config.get("extra") == "allow" else None


def core_variables(of: Collection[type[BaseModel]] | None = None) -> list[str]:
    """Return the variables of the core and of these brokers, by default of all."""
    wanted: tuple[type[BaseModel], ...] = models() if of is None else (Settings, *of)
    return list(dict.fromkeys(PREFIX + field.upper() for model in wanted for field in model.model_fields))


def object_fields() -> frozenset[str]:
    """Return the fields of the core and of every broker whose value is an object, as Celery's options are."""
    return frozenset(
        name for model in models() for name, info in model.model_fields.items() if get_origin(info.annotation) is dict
    )


def sink_variables(name: str, model: type[BaseModel]) -> list[str]:
    """Return those of a sink."""
    return [sink_prefix(name) + field.upper() for field in model.model_fields]


def all_variables() -> list[str]:
    """Return every variable there is, of all installed sinks. Imports them all: for tests and documentation."""
    return core_variables() + [
        variable for sink in plugins.installed() for variable in sink_variables(sink, plugins.load(sink).Settings)
    ]
