"""Parking: what can never be forwarded goes whole into the queue `<queue>.rejected`, with the reason in its headers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.envelope import Heard, sealed
from celery_event_bridge.brokers.kombu.connection import Link
from celery_event_bridge.brokers.kombu.files import names_in, new_name, unavailable, write
from celery_event_bridge.brokers.parked_message import MAX_ERROR, OURS, now
from celery_event_bridge.brokers.publishing import content_encoding
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable, MessageRefused, Parcel
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.kombu.settings import Settings

MOST_PARKED = 1000
"""Messages kept where nobody can say how large they are."""


class FolderParking:
    """See the protocol `celery_event_bridge.contract.broker.Parking`. A file for each, as kombu would write it."""

    under_way: Collection[Parcel] = ()
    obstacle: str | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.folder_in

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Write them to the disk. Raises BrokerUnavailable."""
        with unavailable(self._folder):
            for parcel in parcels:
                message = parcel.message
                envelope = sealed(
                    message.body, message.content_type, headers(parcel), self._settings.event_exchange, _key(parcel)
                )
                write(self._folder, new_name(self._settings.rejected), envelope)
            if parcels:
                self._drop_oldest()
        return parcels

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _drop_oldest(self) -> None:
        names = names_in(self._folder, self._settings.rejected)
        sizes = {name: (self._folder / name).stat().st_size for name in names}
        total, dropped = sum(sizes.values()), 0
        for name in names[:-1]:
            if total <= self._settings.rejected_max_bytes:
                break
            (self._folder / name).unlink(missing_ok=True)
            total -= sizes[name]
            dropped += 1
        if dropped:
            tell_of_dropped(
                self._settings,
                dropped,
                "BRIDGE_REJECTED_MAX_BYTES was used up; look at them with `celery-event-bridge rejected`",
            )


class ChannelParking:
    """See the protocol `celery_event_bridge.contract.broker.Parking`. By kombu, on a connection of its own."""

    under_way: Collection[Parcel] = ()
    obstacle: str | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._link: Link | None = None

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Publish them. Raises BrokerUnavailable; then it is not known which are there."""
        if not parcels:
            return ()
        try:
            link = self._link = self._link or Link(self._settings)
            with link.translated():
                link.channel.queue_declare(self._settings.rejected)
                for parcel in parcels:
                    link.channel.basic_publish(_prepared(link.channel, parcel), "", self._settings.rejected)
                dropped = self._drop_oldest(link.channel)
        except BrokerUnavailable as exc:
            self.close()
            if type(exc.__cause__).__name__ == "DocumentTooLarge":
                raise MessageRefused(str(exc)) from exc
            raise
        if dropped:
            tell_of_dropped(self._settings, dropped, f"there are more than {MOST_PARKED}")
        return parcels

    def close(self) -> None:
        """Disconnect. Never raises."""
        if self._link is not None:
            self._link.close()
        self._link = None

    def _drop_oldest(self, channel: Any) -> int:
        waiting = int(channel.queue_declare(self._settings.rejected, passive=True).message_count)
        dropped = max(0, waiting - MOST_PARKED)
        for _ in range(dropped):
            channel.basic_get(self._settings.rejected, no_ack=True)
        return dropped


def headers(parcel: Parcel) -> dict[str, Any]:
    """Return the headers of a message that is parked: its own, and the reason."""
    theirs = {name: value for name, value in parcel.message.headers.items() if not str(name).startswith(OURS)}
    return theirs | {
        f"{OURS}reason": parcel.why.reason,
        f"{OURS}error": parcel.why.error[:MAX_ERROR],
        f"{OURS}routing-key": _key(parcel),
        f"{OURS}parked-at": now(),
    }


def tell_of_dropped(settings: Settings, count: int, why: str) -> None:
    """Tell that the oldest of what was parked had to go."""
    notices.tell(
        "dropped",
        f"{counted(count, 'parked message')} dropped from {settings.rejected}: the oldest, as {why}",
        subject="rejected",
        count=count,
    )


def _key(parcel: Parcel) -> str:
    return parcel.message.routing_key if isinstance(parcel.message, Heard) else ""


def _prepared(channel: Any, parcel: Parcel) -> Any:
    content_type = parcel.message.content_type
    return channel.prepare_message(
        parcel.message.body,
        content_type=content_type,
        content_encoding=content_encoding(content_type),
        headers=headers(parcel),
        properties={"delivery_mode": 2, "delivery_info": {}},
    )
