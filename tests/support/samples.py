"""Values of the bridge's metrics."""

from __future__ import annotations

from celery_event_bridge.observe.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"celery_bridge_{name}", labels)
