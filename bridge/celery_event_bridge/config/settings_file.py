"""A file of settings, `BRIDGE_CONFIG` or `--config`: TOML, whose keys are the settings' names in lower case.

    sink = ["kafka", "sqlite"]
    queue_ttl = 10
    broker_url_file = "/run/secrets/broker-url"

    [kafka]
    bootstrap_servers = "kafka1:9092,kafka2:9092"

A variable wins over it, and an option over both.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from celery_event_bridge.config.validation import FILE, PREFIX, SettingsError, why_unreadable
from celery_event_bridge.config.variables import object_fields

CONFIG = "BRIDGE_CONFIG"


def with_file(
    environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the environment, and below it what the file says, by variable; and how what is the file's is named.

    Raises SettingsError where it cannot be read.
    """
    if environ.get(CONFIG + FILE, "").strip():
        raise SettingsError(f"{CONFIG}{FILE}: there is no such setting; {CONFIG} is the path of the file itself")
    path = (options or {}).get(CONFIG) or environ.get(CONFIG, "").strip()
    if not path:
        return environ, {}
    given = {
        variable: (key, text)
        for variable, key, text in _variables(path, _read(path), object_fields())
        if not _is_given(variable.removesuffix(FILE), environ)
    }
    names = {variable: f"{path}: {key}" for variable, (key, _) in given.items()}
    return {**environ, **{variable: text for variable, (_, text) in given.items()}}, names


def _is_given(target: str, environ: Mapping[str, str]) -> bool:
    """Return whether a variable says it; an empty one does not."""
    return any(environ.get(name, "").strip() for name in (target, target + FILE))


def _read(path: str) -> Mapping[str, Any]:
    where = f"{CONFIG}={path}"
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise SettingsError(f"{where}: cannot read the file: {why_unreadable(exc, path)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        # Of what is in it nothing is repeated but the place: a secret may be there.
        place = f" {text}" if (text := str(exc).rpartition("(")[2].rstrip(")")).startswith("at ") else ""
        raise SettingsError(f"{where}: the file is not TOML{place}") from None


def _variables(
    path: str, content: Mapping[str, Any], objects: Collection[str], within: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield variable, key and text. Raises SettingsError for a value of a kind that no setting has.

    `objects` are the keys whose value is one; every other table has settings in it, as a sink's has.
    """
    for name, value in content.items():
        key = within + name
        if isinstance(value, Mapping) and key not in objects:
            yield from _variables(
                path, value, objects, f"{key}."
            )  # a dotted key, as librdkafka's properties are, is one too
        elif name.upper().startswith(PREFIX):
            table = re.sub(r"[.-]", "_", within)
            wanted = name.lower().removeprefix(PREFIX.lower()).removeprefix(table.lower())
            raise SettingsError(f"{path}: {key}: in a file it is {within}{wanted}")
        else:
            yield PREFIX + re.sub(r"[.-]", "_", key).upper(), key, _text(path, key, value)


def _text(path: str, key: str, value: Any) -> str:
    """Return the value as its variable has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        return str(value)
    if isinstance(value, Mapping):
        return json.dumps(value, default=str)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    raise SettingsError(f"{path}: {key}: expected a text, a number, true, false, or a list of texts")
