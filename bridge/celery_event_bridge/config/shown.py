"""Values of settings as they may be shown: in the units that they are given in, and without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from celery_event_bridge.contract.secrets import hide_in_value, is_secret
from celery_event_bridge.contract.values import size

_SIZES = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "GB": 10**9, "MB": 10**6, "kB": 10**3}


def values_of(prefix: str, model: BaseModel) -> dict[str, str]:
    """Return each variable and its value, secrets hidden."""
    fields = type(model).model_fields
    return {prefix + name.upper(): as_shown(prefix + name.upper(), value, fields.get(name)) for name, value in model}


def as_shown(variable: str, value: Any, info: FieldInfo | None) -> str:
    """Return a value as its setting takes it, or `**` for a secret."""
    if value is None or value == ():
        return said_of(info, "unset") or "unset"
    if isinstance(value, SecretStr) or (is_secret(variable) and not isinstance(value, Path)):
        return "**"
    return _written(variable, value, in_bytes=info is not None and is_size(info))


def said_of(info: FieldInfo | None, what: str) -> str:
    """Return a word that a field has for its own value, by its `json_schema_extra`; empty where it has none."""
    extra = info.json_schema_extra if info is not None else None
    return str(extra.get(what, "")) if isinstance(extra, dict) else ""


def _written(variable: str, value: Any, *, in_bytes: bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):  # a rule of several parts knows how it is written
        return (":" if variable == "BRIDGE_HTTP" else ",").join(map(str, value))
    if isinstance(value, dict):
        return str({key: _harmless_leaf(leaf) for key, leaf in value.items()})
    if in_bytes:
        return in_units(value)
    return f"{value:.15g}" if isinstance(value, float) else hide_in_value(str(value))


def is_size(info: FieldInfo) -> bool:
    """Return whether a setting is a number of bytes."""
    return any(getattr(each, "func", None) is size for each in info.metadata)


def in_units(count: int) -> str:
    """Return a number of bytes in the largest unit that gives a whole number."""
    fits = [f"{count // bytes_}{unit}" for unit, bytes_ in _SIZES.items() if count and count % bytes_ == 0]
    return min(fits, key=len, default=str(count))


def _harmless_leaf(value: Any) -> Any:
    """Return a value in JSON as it may be shown: numbers and the like."""
    return value if value is None or isinstance(value, (bool, int, float)) else "**"
