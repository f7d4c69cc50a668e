"""Part of `check` for the transports of kombu: the folder or the server, the queue, what is parked, what is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.kombu.connection import Link
from celery_event_bridge.brokers.kombu.files import problem_of
from celery_event_bridge.brokers.kombu.folder import others
from celery_event_bridge.brokers.kombu.settings import FILESYSTEM, MEMORY
from celery_event_bridge.contract import Finding, SinkUnavailable
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings

MANY = 10_000
"""Messages that wait, from which on they are worth a word: there is no bound."""
IN_MEMORY = "memory:// carries events inside one process alone: a bridge that is a process of its own gets none"
IN_HAND = (
    "a message is gone from the broker when it is received: what a bridge has in hand when it is killed is lost, up to "
    "BRIDGE_PREFETCH messages"
)


def findings(settings: Settings, location: Callable[[], str]) -> Iterator[Finding]:
    """Yield a verdict on each thing, in the order of an event's way."""
    if settings.scheme in FILESYSTEM:
        problem = _problem_of_folder(settings)
        if problem:
            yield Finding("FAIL", f"broker filesystem://: {problem}")
            return
    try:
        link = Link(settings)
    except BrokerUnavailable as exc:
        yield Finding("FAIL", f"broker {exc}")
        return
    try:
        yield from _connected(settings, link, location)
    except BrokerUnavailable as exc:
        yield Finding("FAIL", f"broker {exc}")
    finally:
        link.close()


def who_shares(settings: Settings, location: str) -> str | None:
    """Name who takes events off this folder and stores elsewhere; None if nobody does."""
    try:
        elsewhere = sorted({other for other in others(settings) if other and other != location})
    except BrokerUnavailable:
        return None
    return f"a bridge that stores in {', '.join(elsewhere)}" if elsewhere else None


def _connected(settings: Settings, link: Link, location: Callable[[], str]) -> Iterator[Finding]:
    where = f" in {settings.folder_in}" if settings.scheme in FILESYSTEM else ""
    yield Finding("ok", f"broker {hide_in_url(settings.broker_url)}{where}: connected")
    link.exchange_is_there()
    if settings.queue in link.bound():
        waiting = _waiting(link, settings.queue)
        text = f"queue {settings.queue}: bound to {settings.event_exchange}, {counted(waiting, 'message')}"
        if waiting < MANY:
            yield Finding("ok", text)
        else:
            yield Finding("warn", f"{text}: does a bridge run? There is no bound, but for the disk")
    else:
        yield Finding("ok", f"queue {settings.queue}: not there yet, run will declare it")
    if settings.scheme in FILESYSTEM:
        yield from _sharing(settings, location)
    if parked := _waiting(link, settings.rejected):
        look = ": look at them with `celery-event-bridge rejected`" if settings.scheme in FILESYSTEM else ""
        yield Finding("warn", f"{counted(parked, 'message')} parked in {settings.rejected}{look}")
    if settings.scheme in MEMORY:
        yield Finding("warn", IN_MEMORY)
    elif settings.scheme not in FILESYSTEM:
        yield Finding("warn", IN_HAND)


def _waiting(link: Link, queue: str) -> int:
    try:
        with link.translated():
            return int(link.channel.queue_declare(queue, passive=True).message_count)
    except BrokerUnavailable:  # that it is not there
        return 0


def _sharing(settings: Settings, location: Callable[[], str]) -> Iterator[Finding]:
    try:
        here = location()
    except SinkUnavailable:
        return
    if who := who_shares(settings, here):
        yield Finding(
            "FAIL",
            f"{who} takes events off the queue {settings.queue}: each would go to one of the two; give this one a "
            "BRIDGE_QUEUE of its own",
        )


def _problem_of_folder(settings: Settings) -> str:
    folder = settings.folder_in
    if problem := problem_of(folder):
        return problem
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"data_folder_in {folder}: this user may not read and write there"
    control = settings.control_folder
    if control.is_dir() and not os.access(control, os.R_OK | os.W_OK | os.X_OK):
        return f"control_folder {control}: this user may not read and write there"
    return ""
