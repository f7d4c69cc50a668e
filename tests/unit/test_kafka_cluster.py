"""Questions to the cluster: the client that asks them ends with the one that failed."""

from __future__ import annotations

import weakref

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.kafka import cluster
from celery_event_sinks.kafka.settings import KafkaSettings


def test_a_client_is_gone_with_the_question_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the traceback is kept: collected by librdkafka's own thread, as garbage, it would end the process."""
    monkeypatch.setattr(cluster, "ANSWER", 0.1)
    subject = cluster.Cluster(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    client = weakref.ref(subject._client())
    with pytest.raises(SinkUnavailable, match="no Kafka broker answers") as failure:
        subject.state(["events"])
    assert failure.value.__traceback__ is not None
    assert client() is None
