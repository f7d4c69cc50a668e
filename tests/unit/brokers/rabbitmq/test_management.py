"""RabbitMQ's management API where it does not answer as it should, and what is made of what it says."""

from __future__ import annotations

import socket
import threading

import pytest

from celery_event_bridge.brokers.rabbitmq.management import Management, tell_of_policies
from celery_event_bridge.brokers.rabbitmq.presence import OUR_TAG, foreign
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.notices import NOTICES

BYTES = 100
PAUSE = 0.1
"""Seconds between two bytes; all of them take far longer than an answer may."""


def test_an_answer_that_trickles_in_ends_with_its_deadline() -> None:
    """However many bytes come, each within the time-out of a socket's."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                for _ in range(BYTES):
                    if done.wait(PAUSE):
                        return
                    connection.sendall(b"x")

        serving = threading.Thread(target=serve)
        serving.start()
        url = f"http://u:open-sesame@127.0.0.1:{server.getsockname()[1]}"
        management = Management(Settings(management_url=url), timeout=0.5)
        with pytest.raises(BrokerUnavailable, match=r"no answer within 0\.5 s") as failure:
            management.queue("q")
        done.set()
        serving.join(10)
    assert "sesame" not in str(failure.value)


def test_a_policy_that_is_set_again_is_told_of_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a day while it lasts, at once where it was removed in between, and that is told, too."""
    caplog.set_level("INFO")
    settings = Settings(management_url="http://127.0.0.1:1")
    topology = Topology.from_settings(settings)
    found: dict[str, object] = {}
    monkeypatch.setattr(Management, "queue", lambda _, name: found if name == topology.live.name else None)
    told: set[str] = set()
    for policy in ({"max-length": 10}, {"max-length": 10}, [], {"max-length": 10}):
        found["effective_policy_definition"], found["policy"] = policy, "everything"
        tell_of_policies(settings, topology, told)
    has = "queue 'celeryev.bridge' has max-length=10 by policy 'everything'"
    lines = [record.getMessage().partition(": ")[0] for record in caplog.records]
    assert [has, has.replace(" has ", " no longer has "), has] == lines
    assert 3 == NOTICES.counts()["policy"]


def test_policies_that_the_api_does_not_know_yet_are_looked_at_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows a queue that was just declared, and its policies a moment later."""
    settings = Settings(management_url="http://127.0.0.1:1")
    topology = Topology.from_settings(settings)
    found: dict[str, object] = {"name": "celeryev.bridge"}
    monkeypatch.setattr(Management, "queue", lambda *_: found)
    soon = tell_of_policies(settings, topology, set())
    assert soon is not None
    assert soon <= 10
    found["effective_policy_definition"] = []
    assert tell_of_policies(settings, topology, set()) is None


def test_consumers_are_known_by_their_tags() -> None:
    """Bridges' own are told of by nobody; of another one its tag, user and host are."""
    channel = {"user": "ann", "peer_host": "10.0.0.7"}
    found = {
        "consumer_details": [
            {"consumer_tag": f"{OUR_TAG}0123", "channel_details": channel},
            {"consumer_tag": "ctag1", "channel_details": channel},
        ]
    }
    (text,) = foreign("q", found)
    assert "tag 'ctag1' of user 'ann' from 10.0.0.7" in text
    assert [] == list(foreign("q", {}))
