"""Settings made of variables' texts, or lines that name the variable that is set, and never show a secret.

What came from a file is judged the same way when it is read again, while a bridge or a reader runs.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from celery_event_bridge.config.shown import in_units, is_size
from celery_event_bridge.contract import secret_files
from celery_event_bridge.contract.secrets import hide_in_value, hide_of, is_secret

Model = TypeVar("Model", bound=BaseModel)

PREFIX, FILE = "BRIDGE_", "_FILE"
"""Beginning of every variable of ours, and the end of one that names a file with the value."""
_IN_WORDS = {
    "bool_parsing": "expected true or false",
    "dict_type": "expected a JSON object, such as {{}}",
    "float_parsing": "expected a number",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "int_from_float": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "json_invalid": "expected JSON: {error}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "path_not_file": "there is no such file",
    "string_too_short": "expected at least one character",
}
"""By pydantic's type of error; its own messages are for programmers."""


class SettingsError(Exception):
    """The settings are wrong; each line of the text names a variable, its value and what is allowed."""


def validated(
    model: type[Model],
    prefix: str,
    variables: Mapping[str, str],
    files: Mapping[str, str],
    set_by: Mapping[str, str] = MappingProxyType({}),
    judge_first: Callable[[str, str], str] = lambda _variable, _text: "",
) -> Model:
    """Return the settings. `files` are paths by variable, and what came from one is judged in this way when it is read
    again, after `judge_first` has found nothing; `set_by` are the variables that were set in place of others. Raises
    SettingsError.
    """
    try:
        made = model.model_validate(_fields(prefix, variables))
    except ValidationError as exc:
        # Not str(exc), which prints the values; and no cause: a traceback would print them too.
        lines = [_explain(prefix, error, variables, files, set_by) for error in _errors(model, exc)]
    else:
        for variable, path in files.items():
            if variable in variables:
                judge = partial(_judged, judge_first, partial(instead, model, prefix, dict(variables)), variable)
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
            message = re.sub(rf"\b{variable}\b", name.replace("\\", r"\\"), message)
        return message
    variable = prefix + str(error["loc"][0]).upper()
    text = variables.get(variable, "")
    message = _message(error, variable, text)
    if variable in files:
        name = variable + FILE
        return f"{name}={shown_path(name, files[variable])}: it holds {harmless(variable, text)}: {message}"
    return f"{set_by.get(variable, variable)}={harmless(variable, text)}: {message}"


def _errors(model: type[BaseModel], exc: ValidationError) -> Iterator[Any]:
    """Yield what pydantic has found, each with a message in our words."""
    for error in exc.errors(include_url=False):
        info = model.model_fields.get(str(error["loc"][0])) if error["loc"] else None
        bounds = {key: _bound(value, info) for key, value in error.get("ctx", {}).items()}
        words = _IN_WORDS.get(error["type"])
        yield {**error, "msg": error["msg"] if words is None else words.format(**bounds)}


def _bound(value: Any, info: FieldInfo | None) -> str:
    if isinstance(value, int) and info is not None and is_size(info):
        return in_units(value)
    return f"{value:.15g}" if isinstance(value, float) else str(value).replace("'", "")


def _message(error: Any, variable: str, text: str) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return hide_of(message, text, variable) if variable else message  # urlsplit repeats the host that it refuses


def _judged(first: Callable[[str, str], str], then: Callable[[str, str], str], variable: str, text: str) -> str:
    return first(variable, text) or then(variable, text)


def instead(model: type[BaseModel], prefix: str, variables: Mapping[str, str], variable: str, text: str) -> str:
    """Return what a file holds instead of a value that is valid beside these variables, as the start says it."""
    found = []
    try:
        model.model_validate(_fields(prefix, {**variables, variable: text}))
    except ValidationError as exc:
        for error in _errors(model, exc):
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


def why_unreadable(exc: OSError, path: str) -> str:
    """Return the reason; of a file that this user may not read also whose it is, and who this is."""
    if not isinstance(exc, PermissionError):
        return str(exc.strerror)
    try:
        found = Path(path).stat()
    except OSError:
        return f"{exc.strerror}: a directory above it is closed to user {os.geteuid()}, group {os.getegid()}"
    return (
        f"{exc.strerror}: it is {stat.S_IMODE(found.st_mode):04o} of user {found.st_uid}, group {found.st_gid}, and "
        f"this is user {os.geteuid()}, group {os.getegid()}: let one of these read it"
    )


def shown_path(name: str, path: str) -> str:
    """Return the path as it may be shown: somebody may have put the secret itself there."""
    if is_secret(name.removesuffix(FILE)) and not Path(path).absolute().parent.is_dir():
        return "**"
    if is_secret(name.removesuffix(FILE)) and not path.startswith("/"):
        return "**"
    return hide_in_value(path)
