"""Sinks by name, readers and brokers by scheme, found by entry point: ours have no privilege over a third party's."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from typing import cast

from celery_event_bridge.contract import ReaderPlugin, SinkPlugin
from celery_event_bridge.contract.broker_plugin import BrokerPlugin, BrokerSettings, scheme_of
from celery_event_bridge.contract.secrets import hide_in_value

SINKS = "celery_event_bridge.sinks"
"""The entry-point group; an entry's name is what `BRIDGE_SINK` says and part of its variables' names."""
READERS = "celery_event_bridge.readers"
"""Entry-point group of readers; an entry's name is the scheme of its URLs."""
BROKERS = "celery_event_bridge.brokers"
"""Entry-point group of brokers; an entry's name is the scheme of its URLs."""
OURS = ("kafka", "redis", "sqlite", "stdout")
EXTRAS = {"redis": "redis", "hiredis": "redis", "confluent_kafka": "kafka", "pymongo": "mongodb"}
"""Extra of this package that has a client, by the client's package."""
"""Plug-ins of this package; a client that is missing is an extra of that name."""


class NotInstalled(Exception):
    """No such sink, reader or broker, or its client library is missing. The text says what to do."""


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of all sinks, by name; none of them is loaded."""
    return dict(_entries(SINKS))


def load(name: str) -> SinkPlugin:
    """Return the plugin called `name`. Raises NotInstalled."""
    entries = _entries(SINKS)
    entry = entries.get(name)
    if entry is None:
        there = ", ".join(sorted(entries))
        raise NotInstalled(f"BRIDGE_SINK={hide_in_value(name)}: no such sink; there are {there}")
    try:
        return cast("SinkPlugin", entry.load())
    except ModuleNotFoundError as exc:
        raise NotInstalled(f"BRIDGE_SINK={name}: {_missing(exc, name)}") from exc


def load_reader(scheme: str) -> ReaderPlugin:
    """Return the reader for URLs of this scheme. Raises NotInstalled."""
    entries = _entries(READERS)
    entry = entries.get(scheme)
    if entry is None:
        raise NotInstalled(f"no reader for {scheme}://; there are {', '.join(sorted(entries))}")
    try:
        return cast("ReaderPlugin", entry.load())
    except ModuleNotFoundError as exc:
        raise NotInstalled(_missing(exc, scheme)) from exc


def reader_schemes() -> frozenset[str]:
    """Return the schemes of the streams that there are readers for."""
    return frozenset(_entries(READERS))


def broker_schemes() -> tuple[str, ...]:
    """Return the schemes of the brokers that there are plug-ins for."""
    return tuple(sorted(_entries(BROKERS)))


def broker(url: str) -> type[BrokerPlugin]:
    """Return the plug-in for a broker's URL. Raises NotInstalled."""
    scheme = scheme_of(url)
    entry = _entries(BROKERS).get(scheme)
    if entry is None:
        raise NotInstalled(f"no plug-in for brokers of {scheme}://; there are {', '.join(broker_schemes())}")
    try:
        return cast("type[BrokerPlugin]", entry.load())
    except ModuleNotFoundError as exc:
        raise NotInstalled(lacking(scheme, exc.name or scheme)) from exc


def broker_settings() -> tuple[type[BrokerSettings], ...]:
    """Return the settings of every broker that there is a plug-in for, each once; of broken plug-ins none."""
    models: dict[type[BrokerSettings], None] = {}
    for scheme in broker_schemes():
        with suppress(NotInstalled):
            models[broker(f"{scheme}://").Settings] = None
    return tuple(models)


def forget() -> None:
    """Look again at what is installed, when it is next asked for."""
    _entries.cache_clear()


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def lacking(scheme: str, package: str) -> str:
    """Return what to say of a broker's URL whose client is missing."""
    return f"{scheme}:// needs the package {package!r}, which is not installed: {_remedy(package, scheme)}"


def _missing(exc: ModuleNotFoundError, name: str) -> str:
    return f"the package {exc.name!r} is not installed: {_remedy(exc.name or name, name)}"


def _remedy(package: str, name: str) -> str:
    extra = EXTRAS.get(package, name if name in OURS else "")
    if not extra:
        return "install it"
    wanted = " ".join(f"'{each}'" for each in _requirements(extra) or [package])
    return f"the extra [{extra}] has it, or pip install {wanted}"


def _requirements(extra: str) -> list[str]:
    """Return what our extra of that name asks for. Not the extra itself: this distribution may be in no index."""
    found = []
    with suppress(PackageNotFoundError):
        for line in requires("celery-event-bridge") or ():
            requirement, _, marker = line.partition(";")
            if marker.replace('"', "'").strip() == f"extra == '{extra}'":
                found.append(requirement.strip())
    return sorted(found, key=lambda each: not each.startswith(extra))
