"""Parked messages of the transport `filesystem` as a person handles them: look, send again, throw away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.envelope import opened
from celery_event_bridge.brokers.kombu.files import names_in, new_name, require, unavailable
from celery_event_bridge.brokers.parked_message import OURS, ParkedMessage, id_of, readable_in
from celery_event_bridge.contract.broker_plugin import Content, Parked
from celery_event_bridge.contract.values import as_text

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings


class ParkedFiles:
    """See the protocol `celery_event_bridge.contract.broker_plugin.ParkedMessages`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.folder_in

    def contents(self) -> Iterator[Content]:
        """Yield each message once, oldest first."""
        for _, content in self._files():
            yield content

    def requeue(self, wanted: Callable[[Parked], bool]) -> int:
        """Give each file the name of one that waits for a bridge, in one step: it is never there twice, nor gone."""
        return self._each(wanted, lambda path: path.rename(self._folder / new_name(self._settings.queue)))

    def purge(self, wanted: Callable[[Parked], bool]) -> int:
        """Remove files."""
        return self._each(wanted, Path.unlink)

    def in_hand(self) -> str:
        """Return an empty line: nobody holds a file."""
        return ""

    def _each(self, wanted: Callable[[Parked], bool], do: Callable[[Path], object]) -> int:
        done = 0
        for path, content in self._files():
            if wanted(content.parked):
                with unavailable(path), suppress(FileNotFoundError):  # somebody else was faster
                    do(path)
                    done += 1
        return done

    def _files(self) -> Iterator[tuple[Path, Content]]:
        with unavailable(self._folder):
            names = names_in(self._folder, self._settings.rejected)
        for name in names:
            with unavailable(self._folder):
                try:
                    payload = (self._folder / name).read_bytes()
                except FileNotFoundError:
                    continue
            yield self._folder / name, _content(name, payload)


@contextmanager
def parked_files(settings: Settings) -> Iterator[ParkedFiles]:
    """Return what is parked in the folder. Raises BrokerUnavailable."""
    require(settings.folder_in)
    yield ParkedFiles(settings)


def _content(name: str, payload: bytes) -> Content:
    heard = opened(payload, None, 0)
    types, hostname = readable_in(heard.body, heard.content_type, heard.headers)
    ours: dict[str, Any] = {key: heard.headers.get(OURS + key, "") for key in ("reason", "error", "parked-at")}
    theirs = {key: value for key, value in heard.headers.items() if not key.startswith(OURS)}
    parked = ParkedMessage(
        id=id_of(name.encode(errors="surrogateescape")),
        parked_at=as_text(ours["parked-at"]),
        reason=as_text(ours["reason"]),
        error=as_text(ours["error"]),
        routing_key=as_text(heard.headers.get(f"{OURS}routing-key", "")),
        content_type=heard.content_type,
        size=len(heard.body),
        events=types,
        hostname=hostname,
    )
    return Content(parked, {"content_type": heard.content_type}, theirs, heard.body)
