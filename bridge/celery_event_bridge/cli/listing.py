"""List of all settings, for the `--help` of those commands that show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from celery_event_bridge.config import plugins
from celery_event_bridge.config.catalogue import Setting, core, of_sink

ELSEWHERE = (
    "Settings are BRIDGE_* variables, or options of the same names, such as --sink for BRIDGE_SINK. They are listed "
    "by: celery-event-bridge settings"
)


def in_groups() -> Iterator[tuple[str, tuple[Setting, ...], str]]:
    """Yield each group, the settings in it, and a sentence where there is something to be said of it.

    Imports the clients of all installed sinks.
    """
    known = tuple(core())
    for group in dict.fromkeys(each.group for each in known):
        yield group, tuple(each for each in known if each.group == group), ""
        if group == "Sinks":
            yield from map(_of_sink, sorted(plugins.installed()))


def write(formatter: click.HelpFormatter) -> None:
    """Write the settings in groups, each with its option, variable and default."""
    for group, settings, remark in in_groups():
        with formatter.section(group):
            if settings:
                formatter.write_dl(list(_rows(settings)))
            if remark:
                formatter.write_text(remark)


def _of_sink(name: str) -> tuple[str, tuple[Setting, ...], str]:
    try:
        settings = tuple(of_sink(name))
    except plugins.NotInstalled as exc:
        return f"Sink {name}", (), str(exc)
    return f"Sink {name}", settings, "" if settings else "It has no settings."


def _rows(settings: Iterable[Setting]) -> Iterator[tuple[str, str]]:
    for each in settings:
        flag = each.kind == "true|false"
        name = f"{each.option} / --no-{each.option.removeprefix('--')}" if flag else f"{each.option} {each.kind}"
        default = f"; default: {each.default}" if each.default not in ("", "unset") else ""
        yield name, f"{each.meaning}  [{each.variable}{default}]"
