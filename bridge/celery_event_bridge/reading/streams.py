"""Streams by a URL, or by the settings; with the settings of its sink in either case."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping, Set
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from celery_event_bridge.config import plugins
from celery_event_bridge.config.loading import SINK, SettingsError, load_stream, selected_sinks
from celery_event_bridge.config.variables import sink_prefix
from celery_event_bridge.contract import Identified, ReaderPlugin, SinkPlugin
from celery_event_bridge.contract.secrets import hide_in_url

_LIKE_A_FILE = re.compile(r"[^:@?#]+\.(?:db|sqlite3?)")
"""A path, and no URL whose colon or slashes were mistyped: that may have a password in it."""


def find(
    url: str | None, environ: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None
) -> tuple[ReaderPlugin, BaseModel]:
    """Return the reader and its settings; `options`, by variable name, win over `environ`. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    url = None if url is None else _as_url(url)
    try:
        plugin = plugins.load_reader(_selected(environ, options or {}) if url is None else _scheme(url))
    except plugins.NotInstalled as exc:
        raise SettingsError(str(exc)) from exc
    if url is not None:
        options = _with_url(plugin, url, environ, options)
    return plugin, load_stream(plugin.sink, plugin.Settings, environ, options)


def find_sink(
    url: str, environ: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None
) -> tuple[ReaderPlugin, SinkPlugin, BaseModel]:
    """Return the reader and the sink of the stream at `url`, and the sink's settings. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    url = _as_url(url)
    try:
        reader = plugins.load_reader(_scheme(url))
        sink = plugins.load(reader.sink)
    except plugins.NotInstalled as exc:
        raise SettingsError(str(exc)) from exc
    given = _with_url(reader, url, environ, options)
    return reader, sink, load_stream(reader.sink, sink.Settings, environ, given)


def identity(plugin: ReaderPlugin, settings: BaseModel) -> Set[Hashable]:
    """Return what tells a stream from all others: two that have any of it in common are the same one, or share a part.

    Asks the server, if the reader knows how to: an address has many spellings. Raises SinkUnavailable.
    """
    if isinstance(plugin, Identified):
        return plugin.identity(settings)
    return {(plugin.sink, settings.model_dump_json())}


def _as_url(text: str) -> str:
    """Return a bare path as the URL of a SQLite file: of what is there, or is called as one."""
    # Path.exists raises where a folder on the way is closed.
    if "://" in text or not (os.path.exists(text) or _LIKE_A_FILE.fullmatch(text)):  # noqa: PTH110
        return text
    return f"sqlite:///{quote(os.fsencode(text))}"


def _scheme(url: str) -> str:
    """Return what is before the `://`. Raises SettingsError where the text is no URL."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # whose text may repeat the password
        raise SettingsError(f"{hide_in_url(url)}: not a URL: the host is wrong; an IPv6 address is [::1]") from None
    if not scheme or "://" not in url:
        raise SettingsError(
            f"{hide_in_url(url)}: expected kafka://host:9092/topic, redis://host:6379/0 or sqlite:///events.db"
        )
    return scheme


def _with_url(
    plugin: ReaderPlugin, url: str, environ: Mapping[str, str], options: Mapping[str, str] | None
) -> Mapping[str, str]:
    """Return the options, and over them what the URL says."""
    try:
        fields = plugin.from_url(url, load_stream(plugin.sink, plugin.Settings, environ, options))
    except ValueError as exc:
        raise SettingsError(f"{hide_in_url(url)}: {exc}") from exc
    prefix = sink_prefix(plugin.sink)
    return {**(options or {}), **{prefix + field.upper(): text for field, text in fields.items()}}


def _selected(environ: Mapping[str, str], options: Mapping[str, str]) -> str:
    """Return the first of the selected sinks that can be read back."""
    readable = [name for name in selected_sinks(environ, options) if name != "stdout"]
    if not readable:
        raise SettingsError(f"{SINK}=stdout: nothing is kept there to be read back; give the URL of a stream")
    return readable[0]
