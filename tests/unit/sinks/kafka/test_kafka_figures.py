"""Figures of a topic in a message: those that are known."""

from __future__ import annotations

from celery_event_sinks.kafka.seen import Figures


def test_a_figure_that_may_not_be_asked_for_is_not_said() -> None:
    """It was given as 1, the worst there is, where a broker does not let this user see it."""
    assert "3 partitions, 3 replicas" == str(Figures(3, 3, 0))
    assert "3 partitions, 3 replicas, min.insync.replicas=2" == str(Figures(3, 3, 2))
