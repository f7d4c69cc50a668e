"""The alert rules that users load, and promtool's tests of them, read without a library of YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[2] / "docs/alerts"
SELECTOR = re.compile(r"\b((?:celery_bridge|rabbitmq)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')


class NotUnderstood(Exception):
    """The file uses what is no part of the little YAML that is read here."""


def load(file: Path) -> Any:
    """Mappings, lists of mappings, scalars, folded text and empty lists, as our files have them."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found, rest = _block(lines, 0)
    if rest:
        raise NotUnderstood(rest[0])
    return found


def rules(file: Path) -> list[dict[str, Any]]:
    """The rules of all groups of a file."""
    return [rule for group in load(file)["groups"] for rule in group["rules"]]


def annotations(rule: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    """What the rule says of an alert with these labels."""

    def filled(text: str) -> str:
        return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)

    return {key: filled(text) for key, text in rule["annotations"].items()}


def files(kind: str) -> list[Path]:
    """`rules` or `test`."""
    return sorted(FOLDER.glob(f"*.{kind}.yml"))


def selectors(expression: str) -> Iterator[tuple[str, dict[str, tuple[str, str]]]]:
    """Each metric that an expression names, with its matchers: by label, the operator and the value."""
    for name, inside in SELECTOR.findall(expression):
        if MATCHER.sub("", inside).strip(", "):
            raise NotUnderstood(inside)
        yield name, {label: (operator, value) for label, operator, value in MATCHER.findall(inside)}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _block(lines: list[str], indent: int) -> tuple[Any, list[str]]:
    """A mapping or a list that begins at this indent, and the lines after it."""
    if lines[0].lstrip().startswith("- "):
        return _list(lines, indent)
    mapping: dict[str, Any] = {}
    while lines and _indent(lines[0]) == indent and not lines[0].lstrip().startswith("- "):
        key, colon, text = lines[0].strip().partition(":")
        if not colon or not re.fullmatch(r"\w+", key) or key in mapping or (text and not text.startswith(" ")):
            raise NotUnderstood(lines[0])
        mapping[key], lines = _value(text.strip(), lines[1:], indent)
    return mapping, lines


def _list(lines: list[str], indent: int) -> tuple[list[Any], list[str]]:
    found = []
    while lines and _indent(lines[0]) == indent and lines[0].lstrip().startswith("- "):
        item = lines[0].strip()[2:]
        if re.match(r"\w+:( |$)", item):
            lines[0] = f"{' ' * (indent + 2)}{item}"
            one, lines = _block(lines, indent + 2)
        else:
            one, lines = _scalar(item), lines[1:]
        found.append(one)
    return found, lines


def _value(text: str, lines: list[str], indent: int) -> tuple[Any, list[str]]:
    if text == ">-":
        folded = []
        while lines and _indent(lines[0]) > indent:
            folded.append(lines.pop(0).strip())
        return " ".join(folded), lines
    if text:
        return _scalar(text), lines
    if not lines or _indent(lines[0]) <= indent:
        raise NotUnderstood(lines[0] if lines else "the end")
    return _block(lines, _indent(lines[0]))


def _scalar(text: str) -> Any:
    if text == "[]":
        return []
    if text[0] == text[-1] == "'" and len(text) > 1 and "'" not in text[1:-1]:
        return text[1:-1]
    # What YAML takes for something else in a plain scalar.
    if text[0] in "\"'[]{}>|*&!%#`@,?-" or ": " in text or " #" in text or text.endswith(":"):
        raise NotUnderstood(text)
    return text


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


def scraped(text: str) -> Series:
    """What a page of /metrics says."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def chosen(series: Series, name: str, matchers: dict[str, tuple[str, str]]) -> Series:
    """The series that a selector chooses."""
    return {
        (found, labels): value
        for (found, labels), value in series.items()
        if found == name and all(_matches(dict(labels).get(label, ""), *wanted) for label, wanted in matchers.items())
    }


def _matches(value: str, operator: str, wanted: str) -> bool:
    holds = value == wanted if operator in ("=", "!=") else re.fullmatch(wanted, value) is not None
    return holds != operator.startswith("!")


LOOKED_AT = "celery_bridge_queue_messages"


def not_there(file: Path, series: Series) -> list[str]:
    """What the rules of a file name and the product does not show, at 0; each alternative of a pattern counts.

    A queue's depth is not said to be 0 before somebody has looked.
    """
    found = []
    for rule in rules(file):
        for name, matchers in selectors(rule["expr"]):
            for one in _each(matchers):
                values = set(chosen(series, name, one).values())
                if name == LOOKED_AT and not values:
                    continue
                if values != {1.0 if name.endswith("_info") else 0.0}:
                    found.append(f"{rule['alert']}: {name} {one}: {values or 'none'}")
    return found


def _each(matchers: dict[str, tuple[str, str]]) -> Iterator[dict[str, tuple[str, str]]]:
    """The matchers, with one alternative of each pattern in turn."""
    names = [*matchers]
    for values in product(*(matchers[name][1].split("|") for name in names)):
        yield {name: (matchers[name][0], value) for name, value in zip(names, values, strict=True)}
