"""Address of a SQLite stream: the file's path."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Set
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from celery_event_sinks.sqlite.settings import SqliteSettings


class ByPath:
    """Plug-in's part of a reader: how a URL is read, and what tells two files apart."""

    sink: ClassVar[str] = "sqlite"
    Settings = SqliteSettings

    @staticmethod
    def from_url(url: str, settings: SqliteSettings) -> Mapping[str, str]:  # noqa: ARG004 - a path is all there is
        """`sqlite:////absolute/path.db` or `sqlite:///relative.db`."""
        parts = urlsplit(url)
        path = unquote(parts.path).removeprefix("/")
        if parts.netloc or parts.query or parts.fragment or not path:
            raise ValueError("expected sqlite:////absolute/path.db or sqlite:///relative.db")
        return {"path": path}

    @staticmethod
    def identity(settings: SqliteSettings) -> Set[Hashable]:
        """Return the file, by whatever name."""
        try:
            found = os.stat(settings.path)  # noqa: PTH116 - as the reader does
        except OSError:
            return {("sqlite", os.path.realpath(settings.path))}
        return {("sqlite", found.st_dev, found.st_ino)}
