"""Settings out of `BRIDGE_*` variables, with errors of one line that never print a secret.

A library reads the variables that a model names. Here every variable counts: one that nothing knows is reported
with the nearest name, a `_FILE` is read, and what Kubernetes injects is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec
from pydantic import BaseModel

from celery_event_bridge.config import plugins
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.settings_file import with_file
from celery_event_bridge.config.shown import values_of
from celery_event_bridge.config.unread import unknown_in, unused_in
from celery_event_bridge.config.validation import (
    FILE,
    PREFIX,
    Model,
    SettingsError,
    instead,
    shown_path,
    validated,
    why_unreadable,
)
from celery_event_bridge.config.variables import field_of, models, sink_prefix
from celery_event_bridge.contract import OrderedPlugin, Sink, SinkPlugin, secret_files
from celery_event_bridge.contract.broker_plugin import DEFAULT_BROKER, BrokerPlugin, BrokerSettings, scheme_of, urls_in
from celery_event_bridge.contract.values import words

SINK = "BRIDGE_SINK"
BROKER = "BRIDGE_BROKER_URL"
_KUBERNETES = re.compile(
    r"BRIDGE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
"""Injected for a Service called `bridge` or `bridge-...`; `BRIDGE_PORT=tcp://...` is told by its value."""


COMPOSE = frozenset({"BRIDGE_REPLICAS", "BRIDGE_MEMORY", "BRIDGE_SERVERS"})
"""Variables that our compose file reads; all that is in its `.env` comes into the container, too."""

__all__ = ["Loaded", "SettingsError", "load", "load_stream", "selected_sinks"]


class Loaded(msgspec.Struct, frozen=True):
    """The settings of one run."""

    settings: Settings
    broker: tuple[type[BrokerPlugin], BrokerSettings]
    """The plugin for BRIDGE_BROKER_URL and its settings."""
    sinks: Mapping[str, tuple[SinkPlugin, BaseModel]]
    """By the names in BRIDGE_SINK, in that order: each plugin and its own settings."""
    unknown: Mapping[str, str]
    """A line for each variable that nothing knows, by its name."""
    unused: Sequence[str]
    """A line for each sink, or broker, that has settings and is not selected, and for what is set and nothing reads."""

    def make_broker(self) -> BrokerPlugin:
        """Return the plugin for the broker, not connected."""
        plugin, settings = self.broker
        return plugin(settings)

    def make_sinks(self, *, ordered: bool = False) -> list[Sink]:
        """Return each sink, not opened; with `ordered` each keeps the order. Raises SettingsError where one cannot."""
        if not ordered:
            return [plugin(settings) for plugin, settings in self.sinks.values()]
        sinks = []
        for name, (plugin, settings) in self.sinks.items():
            if not isinstance(plugin, OrderedPlugin):
                raise SettingsError(
                    f"sink {name!r} does not keep an order: BRIDGE_SHARDS=1 and BRIDGE_ORDERED=false, or another sink"
                )
            sinks.append(plugin.in_order(settings))
        return sinks

    def streams(self) -> dict[str, str]:
        """Return what names the stream of each sink, such as its path, by its variable's name in lower case."""
        return {
            name.removeprefix(PREFIX).lower(): text
            for sink, (plugin, settings) in self.sinks.items()
            for name, text in values_of(sink_prefix(sink), settings).items()
            if name.removeprefix(sink_prefix(sink)).lower() in getattr(plugin.Settings, "names_stream", ())
        }

    def effective(self) -> dict[str, str]:
        """Each variable and its value as text, secrets hidden."""
        shown = values_of(PREFIX, self.settings) | values_of(PREFIX, self.broker[1])
        for name, (_, sink_settings) in self.sinks.items():
            shown |= values_of(sink_prefix(name), sink_settings)
        return shown


def load(environ: Mapping[str, str], options: Mapping[str, str] | None = None) -> Loaded:
    """Settings from the environment; `options`, by variable name, win over it. Raises SettingsError."""
    options = options or {}
    environ, named = with_file(environ, options)
    given = _given(environ)
    sinks_own = tuple(sink_prefix(name) for name in plugins.installed())
    variables, files = _resolved(
        {name: text for name, text in given.items() if not _is_sinks(name, sinks_own)}, options
    )
    core = {name: text for name, text in variables.items() if _is_core(name)}
    set_by = None
    if BROKER not in core and environ.get("CELERY_BROKER_URL"):
        core[BROKER], set_by = environ["CELERY_BROKER_URL"], "CELERY_BROKER_URL"
    wrong: list[str] = []
    """Lines: all that is wrong is said at once."""
    names = {**_named(named, options), **({BROKER: set_by} if set_by else {})}
    settings = broker = None
    try:
        settings = validated(Settings, PREFIX, _fields_of(Settings, core), files, names)
        secret_files.set_by(settings.broker_url, set_by)
    except SettingsError as exc:
        wrong.append(str(exc))
    try:
        broker = _broker(core, files, names)
    except SettingsError as exc:
        wrong.append(str(exc))
    except plugins.NotInstalled as exc:
        wrong.append(f"{names.get(BROKER, BROKER)}: {exc}")
    sinks = {}
    for name in _sinks_of(core) if settings is None else settings.sink:
        try:
            plugin = plugins.load(name)
            prefix = sink_prefix(name)
            of_sink = {variable: text for variable, text in given.items() if _is_sinks(variable, prefix)}
            literal = {prefix + field.upper() for field in getattr(plugin.Settings, "ending_in_file", ())}
            own, files = _resolved(of_sink, options, literal)
            variables |= own
            mine = {
                variable: text
                for variable, text in variables.items()
                if variable.startswith(prefix) and variable not in core and field_of(variable, plugin.Settings, prefix)
            }
            sinks[name] = (plugin, validated(plugin.Settings, prefix, mine, files, _named(named, options)))
        except (SettingsError, plugins.NotInstalled) as exc:
            wrong.append(str(exc))
    if settings is None or broker is None or wrong:
        # What is wrong for the core is wrong for the broker too, where both have the setting.
        raise SettingsError("\n".join(dict.fromkeys(line for text in wrong for line in text.splitlines())))
    unknown = {each: f"{named.get(each, each)}: {why}" for each, why in unknown_in(variables, broker[0], sinks).items()}
    # A file may list the settings of all sinks, and say by its sink which of them count.
    said = {*given, *options} - ({*named} if SINK in core else set())
    unused = [*unused_in({each: names.get(each, each) for each in said}, broker[0], settings), *broker[1].doubts()]
    return Loaded(settings, broker, sinks, unknown, unused)


def _broker(
    core: Mapping[str, str], files: Mapping[str, str], names: Mapping[str, str]
) -> tuple[type[BrokerPlugin], BrokerSettings] | None:
    """Return the plug-in for BRIDGE_BROKER_URL and its settings; None where that URL has none, as the core says."""
    urls = urls_in(core.get(BROKER, DEFAULT_BROKER))
    if not urls or any(scheme_of(url) not in plugins.broker_schemes() for url in urls):
        return None
    plugin = plugins.broker(urls[0])
    if any(scheme_of(url) not in plugin.schemes for url in urls):
        raise SettingsError(f"{names.get(BROKER, BROKER)}: expected URLs of one kind: they are tried in turn")
    in_common = _fields_of(Settings, core)

    def as_the_core(variable: str, text: str) -> str:
        return instead(Settings, PREFIX, in_common, variable, text) if field_of(variable, Settings) else ""

    return plugin, validated(plugin.Settings, PREFIX, _fields_of(plugin.Settings, core), files, names, as_the_core)


def _fields_of(model: type[BaseModel], variables: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in variables.items() if field_of(name, model)}


def _is_core(variable: str) -> bool:
    """Return whether it is no sink's: the core's, or that of any broker there is."""
    return any(field_of(variable, model) for model in models())


def _named(named: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Return what a file of settings calls them, but those that an option has replaced."""
    return {variable: name for variable, name in named.items() if variable not in options}


def _sinks_of(core: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in BRIDGE_SINK where another setting is wrong; none if it is that one."""
    text = core.get(SINK)
    names = Settings.model_fields["sink"].default if text is None else [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def selected_sinks(environ: Mapping[str, str], options: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names in BRIDGE_SINK, taken as `load` takes them, for who reads a stream. Raises SettingsError."""
    environ, _ = with_file(environ, options)
    given = {name: text for name, text in _given(environ).items() if name.removesuffix(FILE) == SINK}
    variables, _ = _resolved(given, {SINK: options[SINK]} if SINK in options else {})
    if SINK not in variables:
        return tuple(Settings.model_fields["sink"].default)
    try:
        return tuple(words(variables[SINK]))
    except ValueError as exc:
        raise SettingsError(f"{SINK}: {exc}") from None


def load_stream(
    name: str, model: type[Model], environ: Mapping[str, str], options: Mapping[str, str] | None = None
) -> Model:
    """Return the settings of one sink alone, for who reads its stream. Raises SettingsError.

    `options`, by variable name, win over the environment.
    """
    environ, named = with_file(environ, options)
    prefix = sink_prefix(name)
    of_sink = {variable: text for variable, text in _given(environ).items() if _is_sinks(variable, prefix)}
    literal = {prefix + field.upper() for field in getattr(model, "ending_in_file", ())}
    variables, files = _resolved(of_sink, options or {}, literal)
    mine = {
        variable: text
        for variable, text in variables.items()
        if _is_sinks(variable, prefix) and field_of(variable, model, prefix)
    }
    return validated(model, prefix, mine, files, _named(named, options or {}))


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables. An empty one counts as unset, as compose files leave it."""
    return {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and text.strip() and name not in COMPOSE and not _is_kubernetes(name, text)
    }


def _is_sinks(variable: str, prefix: str | tuple[str, ...]) -> bool:
    return variable.startswith(prefix) and not _is_core(variable.removesuffix(FILE))


def _resolved(
    given: Mapping[str, str], options: Mapping[str, str], literal: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables by name, with the options over them; and the paths of files that were read for values.

    Each `_FILE` is read unless it is one of the `literal` names; its path stands under the name of its value.
    """
    variables, paths = dict(given), {}
    for name, path in given.items():
        target = name.removesuffix(FILE)
        if target == name or name in literal:
            continue
        del variables[name]
        if target in options:
            continue
        if target in given:
            raise SettingsError(f"{target} and {name}: both are set; give one of them")
        variables[target], paths[target] = content(name, path), path
    return {**variables, **options}, paths


def content(name: str, path: str) -> str:
    """Return what the file of a variable holds. Raises SettingsError."""
    try:
        return secret_files.content(path)
    except OSError as exc:
        raise SettingsError(
            f"{name}={shown_path(name, path)}: cannot read the file: {why_unreadable(exc, path)}"
        ) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{name}={shown_path(name, path)}: the file is not UTF-8 text") from exc


def _is_kubernetes(name: str, text: str) -> bool:
    if _KUBERNETES.fullmatch(name):
        return True
    return name.endswith("_PORT") and text.startswith(("tcp://", "udp://", "sctp://"))
