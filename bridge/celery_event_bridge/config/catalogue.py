"""Catalogue of the settings: each with its group, its default and its meaning, made from the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic.fields import FieldInfo

from celery_event_bridge.config import plugins
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.shown import as_shown, said_of
from celery_event_bridge.config.validation import PREFIX
from celery_event_bridge.config.variables import sink_prefix
from celery_event_bridge.contract.values import address, duration, retention_or_never, size

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Broker": ("broker_url", "broker_name"),
    "Intake": ("prefetch", "max_inflight_bytes", "max_message_bytes", "event_types", "redact"),
    "Sinks": ("sink",),
    "Running": (
        "config",
        "linger",
        "retry_max_interval",
        "let_go_after",
        "shutdown_timeout",
        "http",
        "log_format",
        "log_level",
    ),
}
"""The core's settings by group, in the order in which they are listed. A broker's own follow in its groups, and where
it has others these come after the group Broker; a sink's follow the group Sinks.
"""

_BY_PARSER: Mapping[Any, str] = {size: "SIZE", duration: "SECONDS", retention_or_never: "AGE", address: "HOST:PORT"}
_BY_TYPE: Mapping[Any, str] = {bool: "true|false", int: "NUMBER", Path: "FILE", tuple: "LIST", dict: "JSON"}


class Setting(msgspec.Struct, frozen=True):
    """A setting as people look it up."""

    group: str
    variable: str
    kind: str
    """Kind of value that it takes: `SECONDS`, `SIZE`, `quorum|classic`, ..."""
    default: str
    meaning: str

    @property
    def option(self) -> str:
        """Its command-line option."""
        name = self.variable.removeprefix(PREFIX).replace("_", "-")
        return f"--{name.lower()}".replace("<property>", "PROPERTY")


def core() -> Iterator[Setting]:
    """Yield the settings that every command takes, in groups: the core's, then those of all brokers, each once."""
    models = plugins.broker_settings()
    own = [group for model in models for group in model.groups if group not in GROUPS]
    first, *others = GROUPS
    for group in (first, *dict.fromkeys(own), *others):
        for field in GROUPS.get(group, ()):
            yield _setting(group, PREFIX, field, Settings.model_fields[field])
        of_brokers: dict[str, FieldInfo] = {}  # by the first that has it, where several do
        for model in models:
            for field in model.groups.get(group, ()):
                of_brokers.setdefault(field, model.model_fields[field])
        for field, info in of_brokers.items():
            yield _setting(group, PREFIX, field, info)


def of_sink(name: str) -> Iterator[Setting]:
    """Yield the settings of one sink. Imports its client; raises plugins.NotInstalled where that is missing."""
    model = plugins.load(name).Settings
    prefix = sink_prefix(name)
    for field, info in model.model_fields.items():
        yield _setting(f"Sink {name}", prefix, field, info)
    if model.model_config.get("extra") == "allow":
        meaning = str(getattr(model, "any_other", "any other property of its client"))
        yield Setting(f"Sink {name}", prefix + "<PROPERTY>", "TEXT", "", meaning)


def kind_of(name: str, info: FieldInfo) -> str:
    """Return what the setting takes, in a word or as the list of its values."""
    parsers = {getattr(each, "func", None) for each in info.metadata}
    for parser, kind in _BY_PARSER.items():
        if parser in parsers:
            return kind
    for each in _types(info.annotation):
        if get_origin(each) is Literal:
            return "|".join(map(str, get_args(each)))
        if (of_type := _BY_TYPE.get(get_origin(each) or each)) is not None:
            return of_type
    return "URL" if name.endswith("url") else "TEXT"


def _types(annotation: Any) -> Iterator[Any]:
    """Yield a type, then those that it is made of: of `X | None` and `Annotated[X, ...]` also X."""
    yield annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for each in get_args(annotation)[: 1 if get_origin(annotation) is Annotated else None]:
            yield from _types(each)


def _setting(group: str, prefix: str, field: str, info: FieldInfo) -> Setting:
    variable = prefix + field.upper()
    default: Any = info.get_default(call_default_factory=True)
    if variable == "BRIDGE_BROKER_URL":
        text = f"CELERY_BROKER_URL, else {as_shown(variable, default, info)}"
    else:
        text = said_of(info, "default") or as_shown(variable, default, info)
    return Setting(group, variable, kind_of(field, info), text, info.description or "")
