"""Settings that the relay needs, of whatever object has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class RelaySettings(Protocol):
    """See docs/reference/settings.md for each."""

    @property
    def broker_name(self) -> str | None:
        """Name of the broker that is in each event."""

    @property
    def event_types(self) -> Sequence[str]:
        """Patterns of the events that are forwarded."""

    @property
    def max_message_bytes(self) -> int:
        """Bytes of a body past which the message is parked."""

    @property
    def max_inflight_bytes(self) -> int:
        """Bytes that may be in hand."""

    @property
    def retry_max_interval(self) -> float:
        """Seconds that the pauses between two attempts grow to."""

    @property
    def linger(self) -> float:
        """Seconds that events may wait for others."""

    @property
    def let_go_after(self) -> float:
        """Seconds without a verdict after which what is in hand goes back to the broker."""

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that a stop waits for what is in hand."""
