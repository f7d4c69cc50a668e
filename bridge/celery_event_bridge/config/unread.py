"""Variables of ours that this run does not read: unknown ones, and those of a sink or a broker that is not selected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pydantic import BaseModel

from celery_event_bridge.config import plugins
from celery_event_bridge.config.settings import Settings
from celery_event_bridge.config.validation import FILE
from celery_event_bridge.config.variables import core_variables, sink_prefix, sink_variables
from celery_event_bridge.contract import SinkPlugin
from celery_event_bridge.contract.broker_plugin import BrokerPlugin, scheme_of


def unknown_in(
    variables: Mapping[str, str], broker: type[BrokerPlugin], sinks: Mapping[str, tuple[SinkPlugin, BaseModel]]
) -> dict[str, str]:
    """Return why each variable that nothing knows is none of ours, with the nearest one that is."""
    known = core_variables([broker.Settings])
    others = {*core_variables()}  # of another broker, say: see `unused_in`
    for name, (plugin, _) in sinks.items():
        known += sink_variables(name, plugin.Settings)
    open_ended = tuple(sink_prefix(name) for name, (plugin, _) in sinks.items() if _takes_any(plugin.Settings))
    unselected = tuple(sink_prefix(name) for name in _unselected([*sinks]))
    return {
        variable: f"unknown setting, {_nearest(variable, known) or '`celery-event-bridge settings` lists all'}"
        for variable in sorted(variables)
        if variable not in known and variable not in others and not variable.startswith((*open_ended, *unselected))
    }


def unused_in(given: Mapping[str, str], broker: type[BrokerPlugin], settings: Settings) -> Sequence[str]:
    """Return a line for each sink that has settings and is not selected, and for settings of another kind of broker.

    `given` are the variables, with what to call each.
    """
    lines = []
    core = {*core_variables()}
    sinks = {name: variable for variable, name in given.items() if variable.removesuffix(FILE) not in core}
    for sink in _unselected(settings.sink):
        names = sorted(name for name, variable in sinks.items() if variable.startswith(sink_prefix(sink)))
        if names:
            hints = [hint for name in names if (hint := _typing_error(sink, sinks[name]))]
            text = f"{_are_set(names)}, and BRIDGE_SINK is {','.join(settings.sink)}, so that nothing goes to {sink}"
            lines.append(f"{text}: select it by BRIDGE_SINK={sink}{''.join(f'; {hint}' for hint in hints)}")
    of_others = core - {*core_variables([broker.Settings])}
    if names := sorted(name for variable, name in given.items() if variable.removesuffix(FILE) in of_others):
        lines.append(
            f"{_are_set(names)}, and BRIDGE_BROKER_URL is {scheme_of(settings.broker_urls[0])}://, a broker that takes "
            "no such setting"
        )
    return lines


def _are_set(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last} are set" if others else f"{last} is set"


def _unselected(selected: Sequence[str]) -> Iterator[str]:
    return (name for name in sorted({*plugins.installed(), *plugins.OURS}) if name not in selected)


def _takes_any(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "allow"


def _typing_error(sink: str, variable: str) -> str:
    """Say which setting of a sink was meant, as far as that can be told: the sink may lack its client."""
    with suppress(plugins.NotInstalled):
        model = plugins.load(sink).Settings
        known = sink_variables(sink, model)
        name = variable.removesuffix(FILE)
        if name not in known and not any(_is_taken(each, sink, model) for each in {name, variable}):
            return f"{variable}: unknown setting{f', {hint}' if (hint := _nearest(name, known)) else ''}"
    return ""


def _is_taken(variable: str, sink: str, model: type[BaseModel]) -> bool:
    """Return whether a model that takes any name knows this one, or cannot tell."""
    knows = getattr(model, "knows", None)
    return _takes_any(model) and (knows is None or knows(variable.removeprefix(sink_prefix(sink)).lower()))


def _nearest(variable: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(variable, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else ""
