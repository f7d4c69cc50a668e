"""`settings`: every setting, its value now, its default and its meaning."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping

import click

from celery_event_bridge.cli.listing import in_groups
from celery_event_bridge.cli.options import SettingsCommand, loaded
from celery_event_bridge.cli.output import standard_output
from celery_event_bridge.config.catalogue import Setting

INDENT = " " * 6


@click.command(
    cls=SettingsCommand, lists_settings=True, epilog="Example: BRIDGE_SINK=redis celery-event-bridge settings"
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["list", "json"]),
    default="list",
    help="list, or json: an array, an object a setting",
)
@click.pass_context
def settings(ctx: click.Context, form: str) -> None:
    """List every setting: what it is now, its default, its meaning.

    What it is now comes from the BRIDGE_* variables and the options that are given; secrets are hidden. Nothing is
    connected to. Exits 2 where a setting is wrong.
    """
    standard_output()
    chosen = loaded(ctx)
    now = chosen.effective()
    for line in chosen.unknown.values():
        click.echo(f"celery-event-bridge: {line}", err=True)
    if form == "json":
        found = [_as_object(each, now) for _, group, _ in in_groups() for each in group]
        click.echo(json.dumps(found, indent=2))
        return
    listed: set[str] = set()
    for group, members, remark in in_groups():
        name = group.removeprefix("Sink ")
        selected = name == group or name in chosen.sinks
        click.echo(click.style(f"{group}{'' if selected else ', not selected'}", bold=True))
        for each in members:
            listed.add(each.variable)
            _print(each, now.get(each.variable, each.default))
        if remark:
            click.echo(f"  {remark}")
    others = {variable: value for variable, value in now.items() if variable not in listed}
    for variable, value in sorted(others.items()):
        click.echo(f"  {variable}={value}")


def _print(setting: Setting, value: str) -> None:
    default = "" if value == setting.default else f"  (default: {setting.default})"
    click.echo(f"  {setting.variable}={value}{default}")
    click.echo(textwrap.fill(setting.meaning, 76, initial_indent=INDENT, subsequent_indent=INDENT))


def _as_object(setting: Setting, now: Mapping[str, str]) -> dict[str, str | None]:
    return {
        "variable": setting.variable,
        "option": setting.option,
        "group": setting.group,
        "takes": setting.kind,
        "value": now.get(setting.variable),
        "default": setting.default,
        "meaning": setting.meaning,
    }
