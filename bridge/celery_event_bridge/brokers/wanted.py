"""Patterns of BRIDGE_EVENT_TYPES as replicas compare them."""

from __future__ import annotations

from collections.abc import Sequence

ALL = ("*",)


def patterns_of(types: Sequence[str]) -> str:
    """Return the patterns alike for all who want the same, in whatever order; empty for those who want everything."""
    if tuple(types) == ALL:
        return ""
    # A `+` says of a pattern what it is meant for, and not what it matches.
    return ",".join(
        sorted({("!" if each[:1] == "!" else "") + each.removeprefix("!").removeprefix("+") for each in types})
    )
