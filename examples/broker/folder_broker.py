"""A broker of a third party: a folder, with a JSON file for each message. BRIDGE_BROKER_URL=folder:///var/spool/events"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from celery_event_bridge.contract import JSON, Finding
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable, Message, Parcel
from celery_event_bridge.contract.broker_plugin import BrokerSettings


class FolderSource:
    """A message is acknowledged when its file is removed; its number is its tag, and there is one lane."""

    leaves_after: float | None = None
    held_up: str | None = None
    depths: Mapping[str, int] = {}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_hand: dict[int, Path] = {}
        self._consumes = self._paused = False
        self._tag = 0

    def open(self) -> None:
        if not self._folder.is_dir():
            raise BrokerUnavailable(f"{self._folder} is no folder: make it, or set BRIDGE_BROKER_URL")

    def consume(self) -> None:
        self._consumes = True

    def poll(self, timeout: float) -> Sequence[Message]:
        self.open()
        known = {*self._in_hand.values()}
        arrived = [path for path in sorted(self._folder.glob("*.json")) if path not in known]
        if not arrived or not self._consumes or self._paused:
            time.sleep(timeout)
            return ()
        first = self._tag + 1
        self._tag += len(arrived)
        self._in_hand |= enumerate(arrived, first)
        return [Message(self, tag, path.read_bytes(), JSON, {}) for tag, path in enumerate(arrived, first)]

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        self._paused = held_bytes >= 2**24

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        for ack in acks:
            for tag in [tag for tag in self._in_hand if tag == ack.tag or (ack.multiple and tag < ack.tag)]:
                self._in_hand.pop(tag).unlink()

    def give_back(self, messages: Sequence[Ack]) -> None:
        for each in messages:
            del self._in_hand[each.tag]

    def make_room(self, lane: object) -> None:
        """No bound of messages is kept here."""

    def cancel(self) -> None:
        self._consumes = False

    def let_go(self) -> None:
        self._in_hand.clear()
        self._consumes = False

    close = drop = let_go


class FolderParking:
    """What can never be forwarded is written beside it, and counts once it is there."""

    under_way: Collection[Parcel] = ()
    obstacle: str | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        self._folder.mkdir(exist_ok=True)
        for parcel in parcels:
            (self._folder / f"{time.time_ns()}.{parcel.why.reason}").write_bytes(parcel.message.body)
        return parcels

    def close(self) -> None:
        """Nothing is open."""


class FolderBroker:
    """The plug-in: see `celery_event_bridge.contract.broker_plugin.BrokerPlugin`."""

    schemes: ClassVar = frozenset({"folder"})
    Settings: ClassVar = BrokerSettings

    def __init__(self, settings: BrokerSettings) -> None:
        self._folder = Path(settings.broker_url.partition("://")[2])

    def source(self, location: Callable[[], str]) -> FolderSource:
        return FolderSource(self._folder)

    def parking(self) -> FolderParking:
        return FolderParking(self._folder / "rejected")

    def findings(self, location: Callable[[], str]) -> Iterator[Finding]:
        yield Finding("ok" if self._folder.is_dir() else "FAIL", f"folder {self._folder}")

    def names(self) -> Mapping[str, str]:
        return {"folder": str(self._folder)}
