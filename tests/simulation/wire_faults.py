"""Cards of the kind `wire`: what befalls connections, frames, queues, exchanges and rights."""

from __future__ import annotations

from tests.simulation.faults import Cards

CARDS: Cards = {}
