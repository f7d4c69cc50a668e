"""Settings of a Redis broker: its own beside those that every broker is given."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from celery_event_bridge.brokers.common_settings import CommonSettings
from celery_event_bridge.brokers.redis.address import SCHEMES, Address, Names, addresses, names
from celery_event_bridge.brokers.tls_settings import TLS_FIELDS, TlsSettings
from celery_event_bridge.contract.broker_plugin import scheme_of, urls_in
from celery_event_bridge.contract.values import Seconds, Size, is_one_line

__all__ = ["SCHEMES", "Settings"]


class Settings(TlsSettings, CommonSettings):
    """Field `standby_window` is `BRIDGE_STANDBY_WINDOW` and `--standby-window`."""

    tls_schemes: ClassVar = ("rediss", "valkeys", "sentinel")

    groups: ClassVar = {
        "Broker": (
            "broker_transport_options",
            *TLS_FIELDS,
            "event_exchange",
        ),
        "Queues": ("queue", "rejected_max_bytes"),
        "Redis as the broker": ("standby_window", "spool", "spool_max_bytes"),
    }

    standby_window: Seconds = Field(
        10.0, ge=1, le=3600, description="Redis broker: seconds of events that a replica standing by holds in memory"
    )

    spool: Path | None = Field(
        None, description="Redis broker: directory for what a sink's outage does not leave room for in memory"
    )
    spool_max_bytes: Size = Field(2**30, ge=2**20, description="bound of each replica's file in BRIDGE_SPOOL")

    @field_validator("broker_url")
    @classmethod
    def _urls_that_are_read_as_they_are_meant(cls, value: str) -> str:
        if not all(is_one_line(url) for url in urls_in(value)):
            raise ValueError("expected one line without tabs: in a password they are %0A and %09")
        addresses(urls_in(value))
        return value

    @model_validator(mode="after")
    def _what_goes_together(self) -> Settings:
        if self.has_sentinels and not self.broker_transport_options.get("master_name"):
            raise ValueError(
                'BRIDGE_BROKER_TRANSPORT_OPTIONS: sentinels need the name of the master, such as {"master_name": '
                '"mymaster"}, as Celery does'
            )
        return self

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The servers to try in turn."""
        return addresses(self.broker_urls)

    @property
    def names(self) -> Names:
        """Names in that Redis."""
        return names(
            database=self.addresses[0].database,
            exchange=self.event_exchange,
            queue=self.queue,
            options=self.broker_transport_options,
        )

    @property
    def has_sentinels(self) -> bool:
        """Return whether the URLs name sentinels."""
        return any(scheme_of(url) == "sentinel" for url in self.broker_urls)
