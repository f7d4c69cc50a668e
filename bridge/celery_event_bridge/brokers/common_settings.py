"""Settings that each of our brokers takes: Celery's own options and exchange, and the queue that replicas share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, Json

from celery_event_bridge.brokers.celery_options import unknown_options
from celery_event_bridge.contract.broker_plugin import BrokerSettings, scheme_of
from celery_event_bridge.contract.values import QueueName, ShortName, Size


class CommonSettings(BrokerSettings):
    """Field `event_exchange` is `BRIDGE_EVENT_EXCHANGE` and `--event-exchange`."""

    broker_transport_options: Json[dict[str, Any]] = Field(
        default_factory=dict, description="JSON, as Celery's broker_transport_options"
    )
    event_exchange: ShortName = Field("celeryev", min_length=1, description="Celery's event_exchange")
    queue: QueueName = Field(
        "celeryev.bridge", min_length=1, description="queue that all replicas share, or their name on Redis"
    )
    rejected_max_bytes: Size = Field(256 * 2**20, ge=1, description="bound of the parking queue")

    def doubts(self) -> Sequence[str]:
        """Return a line on each of Celery's options that its transport has none of."""
        return unknown_options(scheme_of(self.broker_urls[0]), self.broker_transport_options)
