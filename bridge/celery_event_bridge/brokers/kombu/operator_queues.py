"""The queues of the transport `filesystem` as an operator handles them: bind them, count what waits, remove them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.kombu.connection import Link
from celery_event_bridge.brokers.kombu.files import names_in, require, unavailable
from celery_event_bridge.brokers.kombu.folder import FolderQueue, others, root_of
from celery_event_bridge.contract.broker_plugin import QueueState, refuse_what_is_in_use

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings
    from celery_event_bridge.contract import Finding


class FolderQueues:
    """See the protocol `celery_event_bridge.contract.broker_plugin.Queues`."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._link = link

    def declare(self) -> Sequence[str]:
        """Bind the queue, so that events wait there from now on."""
        self._link.declare(self._settings.queue)
        return [f"queue {self._settings.queue}: bound to {self._settings.event_exchange}"]

    def states(self) -> Sequence[QueueState]:
        """Return each queue as it is; the one of parked messages is there as soon as a message is."""
        self._link.exchange_is_there()
        bound, waiting = self._settings.queue in self._link.bound(), self._count(self._settings.queue)
        return [
            QueueState(
                self._settings.queue,
                {},
                waiting if bound or waiting else None,
                len(others(self._settings)),
                "" if bound or not waiting else f"not bound to {self._settings.event_exchange}: nothing comes in",
            ),
            QueueState(self._settings.rejected, {}, self._count(self._settings.rejected)),
        ]

    def policies(self) -> Sequence[Finding]:
        """Return nothing: there are none here."""
        return ()

    def unseen(self) -> str:
        """Return an empty line: all is seen."""
        return ""

    def migrate(self, old: str, wait: float, tell: Callable[[str], None]) -> None:  # noqa: ARG002 - see the protocol
        """Raise ValueError: there is nothing to migrate for."""
        raise ValueError(
            "a queue of this broker has no arguments that could change; for another name start bridges with it, let "
            "those with the old one drain theirs, and `queues remove` it"
        )

    def remove(self, tell: Callable[[str], None], *, force: bool) -> Sequence[str]:  # noqa: ARG002 - see the protocol
        """Unbind the queue, and remove the files, and the folder with what bridges had in hand."""
        if root_of(self._settings).is_dir():
            self._move_back()
        states = self.states()
        if not force:
            refuse_what_is_in_use(states)
        there = [states[0].name] if states[0].messages is not None else []
        there += [state.name for state in states[1:] if state.messages]
        self._link.delete(self._settings.queue)
        with unavailable(self._settings.folder_in):
            for name in names_in(self._settings.folder_in, self._settings.rejected):
                (self._settings.folder_in / name).unlink(missing_ok=True)
        shutil.rmtree(root_of(self._settings), ignore_errors=True)
        return there

    def _move_back(self) -> None:
        """Have what killed bridges left behind be counted."""
        queue = FolderQueue(self._settings)
        try:
            queue.open()
        finally:
            queue.drop()

    def _count(self, queue: str) -> int:
        with unavailable(self._settings.folder_in):
            return len(names_in(self._settings.folder_in, queue))


@contextmanager
def queues(settings: Settings) -> Iterator[FolderQueues]:
    """Connect. Raises BrokerUnavailable."""
    require(settings.folder_in)
    link = Link(settings)
    try:
        yield FolderQueues(settings, link)
    finally:
        link.close()
