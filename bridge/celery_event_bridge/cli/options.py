"""Options for settings: `--queue-ttl 10` is `BRIDGE_QUEUE_TTL=10`, and wins over it. One for each setting, the
sinks' too, made from the models so that no list of them has to be kept.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from celery_event_bridge.cli import listing
from celery_event_bridge.config import plugins
from celery_event_bridge.config.loading import Loaded, SettingsError, load
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.validation import PREFIX
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import BrokerSettings
from celery_event_bridge.contract.secrets import hide_in_url, hide_in_value, is_secret
from celery_event_bridge.contract.values import group_name, no_url

_IN_PLACE_OF = re.compile(r"BRIDGE_(?:BROKER_URL|REDIS_URL|KAFKA_BOOTSTRAP_SERVERS|SQLITE_PATH)(?:_FILE)?\b")
OPTIONS = "settings"
"""Key of a command's options in the context: variable names and texts."""


class SettingsCommand(click.Command):
    """A command that takes an option for every setting: the core's, and those of all brokers and sinks there are."""

    def __init__(self, *args: Any, lists_settings: bool = False, **kwargs: Any) -> None:
        """Begin; one that `lists_settings` has them in its `--help`, others say where they are listed."""
        super().__init__(*args, **kwargs)
        # The brokers' and the sinks' are parsed by hand: to know them is to look for what is installed.
        self.context_settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        self._lists_settings = lists_settings
        for name, field in Settings.model_fields.items():
            self.params += _options_of(name, is_flag=field.annotation is bool)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of this command, then the settings in groups, or where they are listed."""
        super().format_options(ctx, formatter)
        if self._lists_settings:
            listing.write(formatter)
        else:
            formatter.write_paragraph()
            formatter.write_text(listing.ELSEWHERE)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what click knows, then the brokers' and the sinks' options."""
        super().parse_args(ctx, args)
        kept = ctx.meta.setdefault(OPTIONS, {})
        rest = list(ctx.args)
        while rest:
            name, equals, text = rest.pop(0).partition("=")
            if not equals and (flag := _flag(name, rest)):
                kept.update([flag])
                continue
            variable = _plugins_variable(ctx, name)
            if not equals:
                if not rest:
                    raise click.BadOptionUsage(name, f"Option '{name}' requires an argument.", ctx)
                text = rest.pop(0)
            kept[variable] = text
        ctx.args = []
        return []


def loaded(ctx: click.Context) -> Loaded:
    """Return the settings of this invocation. Raises SettingsError."""
    options = ctx.meta.get(OPTIONS, {})
    chosen = load(os.environ, options)
    if unknown := [line for variable, line in chosen.unknown.items() if variable in options]:
        raise click.UsageError(f"No such option. {unknown[0]}", ctx)
    return chosen


def unable(chosen: Loaded, otherwise: str) -> SettingsError:
    """Return the error for a command that the plug-in for the broker cannot do, and what holds `otherwise`."""
    return SettingsError(f"{hide_in_url(chosen.settings.broker_urls[0])}: on a broker of this kind {otherwise}")


@contextmanager
def naming(option: str, url: str | None) -> Iterator[None]:
    """Let an error about this URL name the option that it was given with, and not the setting that it stands in for."""
    try:
        yield
    except SettingsError as exc:
        if url is None or not str(exc).startswith(hide_in_url(url)):
            raise
        raise SettingsError(f"{option} {exc}") from exc
    except BrokerUnavailable as exc:
        raise BrokerUnavailable(_named(str(exc), option, url), exc.code) from exc
    except SinkUnavailable as exc:
        raise SinkUnavailable(_named(str(exc), option, url)) from exc


def _named(text: str, option: str, url: str | None) -> str:
    """Return the message with the option in place of a setting; user and password may be the setting's all the same."""
    if url is None:
        return text
    shared = "user and password in" in text and "@" not in url
    return _IN_PLACE_OF.sub(lambda found: f"{option} or {found[0]}" if shared else option, text)


def refuse_url(ctx: click.Context, option: str, name: str | None) -> None:
    """Raise a usage error for a name that looks like a URL, without repeating it: a password may be in it."""
    try:
        no_url(name or "")
    except ValueError as exc:
        raise click.UsageError(f"{option} {hide_in_value(name or '')}: {exc}", ctx) from exc


def refuse_group(ctx: click.Context, name: str) -> None:
    """Refuse a name that no group of readers can have: usage error without it."""
    try:
        group_name(name)
    except ValueError as exc:
        raise click.UsageError(f"--group: {exc}", ctx) from exc


def _options_of(field: str, *, is_flag: bool) -> list[click.Option]:
    """Return the options of one setting, hidden: `--help` has them in groups. A flag may have a value all the same."""
    name = _option(field)
    if not is_flag:
        return [click.Option([name], hidden=True, expose_value=False, callback=_keep)]
    return [
        click.Option([name], is_flag=False, flag_value="true", hidden=True, expose_value=False, callback=_keep),
        click.Option(
            [f"--no-{name.removeprefix('--')}"], is_flag=True, hidden=True, expose_value=False, callback=_keep_no
        ),
    ]


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _keep(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and parameter.name:
        ctx.meta.setdefault(OPTIONS, {})[PREFIX + parameter.name.upper()] = value


def _keep_no(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value and parameter.name:
        ctx.meta.setdefault(OPTIONS, {})[PREFIX + parameter.name.removeprefix("no_").upper()] = "false"


def _flag(option: str, rest: list[str]) -> tuple[str, str] | None:
    """Return the variable and the text of a flag of a broker's, whose value is taken out of `rest` if it has one."""
    flags = {
        _option(field): PREFIX + field.upper()
        for model in plugins.broker_settings()
        for field, info in model.model_fields.items()
        if info.annotation is bool
    }
    if option in flags:
        return flags[option], rest.pop(0) if rest and not rest[0].startswith("-") else "true"
    variable = flags.get(f"--{option.removeprefix('--no-')}") if option.startswith("--no-") else None
    return None if variable is None else (variable, "false")


def _plugins_variable(ctx: click.Context, option: str) -> str:
    """Return the variable of a broker's or a sink's option. Raises a usage error for any other."""
    if not option.startswith("--") or not option.isprintable():  # a line end in it would make two of the message
        raise click.UsageError(f"Got unexpected argument '{hide_in_value(option)}'", ctx)
    variable = PREFIX + option.removeprefix("--").upper().replace("-", "_")
    if is_secret(variable):
        raise click.UsageError(f"{option}: secrets are no options; set {variable} or {variable}_FILE", ctx)
    prefixes = tuple(f"{name}-" for name in plugins.installed())
    if option.removeprefix("--").startswith(prefixes):
        return variable
    models: tuple[type[BrokerSettings], ...] = (Settings, *plugins.broker_settings())
    known = [_option(field) for model in models for field in model.model_fields]
    if option in known:
        return variable
    near = difflib.get_close_matches(option, known, n=2, cutoff=0.6)
    raise click.NoSuchOption(option, possibilities=near, ctx=ctx)
