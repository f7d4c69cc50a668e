"""Arguments of a queue that is there and differs from what is asked: what RabbitMQ's refusals say of them.

RabbitMQ names one difference at a time, and shows arguments to nobody over AMQP. So each one that it names is taken
over and the same asked again, with a type that no queue can have: it is refused whatever happens meanwhile, and never
declares anything. Of a queue's arguments RabbitMQ compares those alone that its type knows, and the type with the last
of them (seen with 3.10.8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from amqp.exceptions import PreconditionFailed

if TYPE_CHECKING:
    import amqp

TYPE = "x-queue-type"
IMPOSSIBLE = "no-such-type"
MOST = 20
"""Differences that are asked for."""
_WHOLE = re.compile(r"-?\d+")

Differences = Mapping[str, tuple[str, str]]
"""By argument: what the queue has, and what was asked for."""
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<arg>[^']+)' for (?P<kind>\w+) '(?P<name>[^']*)'.*?: (?P<rest>.*)", re.DOTALL
)
_VALUE = r"(?:the value )?('[^']*'|none)"
_VALUES = re.compile(rf"received {_VALUE}.*? but current is {_VALUE}", re.DOTALL)
"""3.10 says `the value '' of type 'longstr'` of some arguments and the value alone of others."""


class Mismatch(NamedTuple):
    """An argument in which something that is there differs from what was declared."""

    argument: str
    kind: str
    """`queue` or `exchange`."""
    name: str
    found: str
    asked: str


def mismatch(reply: str) -> Mismatch | None:
    """Return what the broker's refusal names; None if it is about something else."""
    named = _INEQUIVALENT.search(reply)
    if named is None:
        return None
    values = _VALUES.search(named["rest"])
    asked, found = (value.strip("'") or "''" for value in values.groups()) if values else ("another", "one")
    return Mismatch(named["arg"], named["kind"], named["name"], found, asked)


def differences(connection: amqp.Connection, name: str, arguments: Mapping[str, Any], refusal: str = "") -> Differences:
    """Return in what a queue that is there differs from what is asked; `refusal` is what the broker has said already.

    Raises what the client raises.
    """
    found: dict[str, tuple[str, str]] = {}
    if first := mismatch(refusal):
        found[first.argument] = (first.found, first.asked)
    asked: dict[str, Any] = {**arguments, TYPE: IMPOSSIBLE}
    flags = {"durable": True, "auto_delete": False}
    for _ in range(MOST):
        named = _first(connection, name, asked, flags)
        if named is None:
            break
        if named.argument == TYPE:
            wanted = str(arguments.get(TYPE, "none"))
            if named.found != wanted:
                found[TYPE] = (named.found, wanted)
            break
        found[named.argument] = (named.found, named.asked)
        if named.argument in flags:
            flags[named.argument] = named.found == "true"
        elif named.found == "none":
            asked.pop(named.argument, None)
        else:
            asked[named.argument] = _typed(named.found)
    return found


def _first(
    connection: amqp.Connection, name: str, arguments: Mapping[str, Any], flags: Mapping[str, bool]
) -> Mismatch | None:
    """Return the first difference that the broker names."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, arguments=dict(arguments), **flags)
    except PreconditionFailed as exc:
        return mismatch(str(exc.reply_text))
    channel.close()
    return None


def queue_type(connection: amqp.Connection, name: str) -> str:
    """Return `quorum`, `stream`, or else what a classic queue has, which names no type in old versions.

    Raises what the client raises.
    """
    return differences(connection, name, {}).get(TYPE, ("", ""))[0]


def listed(found: Differences) -> str:
    """Return the differences as an operator reads them."""
    return ", ".join(f"{name}={is_so} (the settings ask for {asked})" for name, (is_so, asked) in found.items())


def _typed(value: str) -> Any:
    if _WHOLE.fullmatch(value):
        return int(value)
    return {"true": True, "false": False}.get(value, "" if value == "''" else value)
