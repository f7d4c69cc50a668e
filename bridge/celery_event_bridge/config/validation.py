"""Settings made of variables' texts, or lines that name the variable that is set, and never show a secret.

What came from a file is judged the same way when it is read again, while a bridge or a reader runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from celery_event_bridge.contract import secret_files
from celery_event_bridge.contract.secrets import hide_in_value, hide_of, is_secret

Model = TypeVar("Model", bound=BaseModel)

FILE = "_FILE"


class SettingsError(Exception):
    """The settings are wrong; each line of the text names a variable, its value and what is allowed."""


def validated(
    model: type[Model],
    prefix: str,
    variables: Mapping[str, str],
    files: Mapping[str, str],
    set_by: Mapping[str, str] = MappingProxyType({}),
) -> Model:
    """Return the settings. `files` are paths by variable, and what came from one is judged in this way when it is read
    again; `set_by` are the variables that were set in place of others. Raises SettingsError.
    """
    try:
        made = model.model_validate(_fields(prefix, variables))
    except ValidationError as exc:
        # Not str(exc), which prints the values; and no cause: a traceback would print them too.
        lines = [_explain(prefix, error, variables, files, set_by) for error in exc.errors(include_url=False)]
    else:
        for variable, path in files.items():
            if variable in variables:
                judge = partial(_instead, model, prefix, dict(variables), variable)
                secret_files.remember(variables[variable], path, variable, judge)
        return made
    raise SettingsError("\n".join(dict.fromkeys(lines)))


def _fields(prefix: str, variables: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix).lower(): text for name, text in variables.items()}


def _explain(
    prefix: str, error: Any, variables: Mapping[str, str], files: Mapping[str, str], set_by: Mapping[str, str]
) -> str:
    """Return a line that names the variable that is set."""
    if not error["loc"]:
        names = {**set_by, **{variable: variable + FILE for variable in files}}
        message = _message(error, "", "")
        for variable, name in names.items():
            message = re.sub(rf"\b{variable}\b", name, message)
        return message
    variable = prefix + str(error["loc"][0]).upper()
    text = variables.get(variable, "")
    message = _message(error, variable, text)
    if variable in files:
        name = variable + FILE
        return f"{name}={shown_path(name, files[variable])}: it holds {harmless(variable, text)}: {message}"
    return f"{set_by.get(variable, variable)}={harmless(variable, text)}: {message}"


def _message(error: Any, variable: str, text: str) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return hide_of(message, text, variable) if variable else message  # urlsplit repeats the host that it refuses


def _instead(model: type[BaseModel], prefix: str, variables: Mapping[str, str], variable: str, text: str) -> str:
    """Return what a file holds instead of a value that is valid beside these variables, as the start says it."""
    found = []
    try:
        model.model_validate(_fields(prefix, {**variables, variable: text}))
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            if not error["loc"]:
                found.append(re.sub(rf"\b{variable}(?:=\S*)?: ", "", _message(error, "", "")))
            elif prefix + str(error["loc"][0]).upper() == variable:
                found.append(_message(error, variable, text))
    kind = "URL" if variable.endswith("URL") else "value"
    return f"no valid {kind}: {'; '.join(found)}" if found else ""


def harmless(variable: str, text: str) -> str:
    """Return the text as it may be shown."""
    if is_secret(variable) or (variable.endswith("_URL") and re.fullmatch(r"[^/]*\w[^/]*", text)):
        return "**"  # a password alone, where a URL is expected, looks like nothing
    return hide_in_value(text)


def shown_path(name: str, path: str) -> str:
    """Return the path as it may be shown: somebody may have put the secret itself there."""
    if is_secret(name.removesuffix(FILE)) and not Path(path).absolute().parent.is_dir():
        return "**"
    if is_secret(name.removesuffix(FILE)) and not path.startswith("/"):
        return "**"
    return hide_in_value(path)
