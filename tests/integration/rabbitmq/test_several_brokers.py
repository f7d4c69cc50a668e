"""Brokers of their own in one BRIDGE_BROKER_URL: each has its queues, and workers need not be where the bridge is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from celery_event_bridge.brokers.rabbitmq.left_behind import LeftBehind
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import GivenBack
from celery_event_bridge.contract.secrets import hide_in_url
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.others import LIVE
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]


@pytest.fixture
def urls(rabbitmq_server: RabbitMQ) -> tuple[str, str]:
    """Two brokers: queues of one vhost are none of the other."""
    return rabbitmq_server.new_vhost(), rabbitmq_server.new_vhost()


@pytest.fixture
def source(urls: tuple[str, str]) -> Iterator[AmqpSource]:
    """A source of both, whose looks come at short intervals."""
    settings = Settings(broker_url=";".join(urls))
    topology = Topology.from_settings(settings)
    source = AmqpSource(settings, topology, left=LeftBehind(settings, topology, every=0.2, quiet=1.0))
    yield source
    source.drop()


def connect(source: AmqpSource) -> None:
    """Connect to the next one, as the relay does after an outage."""
    source.drop()
    source.open()
    source.consume()


def received(source: AmqpSource, found: list[bytes]) -> list[bytes]:
    """Go on as the relay does, for one turn; return what has come so far."""
    source._watches._due = 0.0  # a look at each turn
    try:
        messages = source.poll(0.1)
        found += [message.body for message in messages]
        source.steer(0, lambda: 0)
    except GivenBack:
        connect(source)
    return found


def connected_to(caplog: pytest.LogCaptureFixture) -> str:
    """The broker that it was connected to last, as the log has it."""
    said = re.findall(r"connected to broker (\S+), one of 2", caplog.text)
    return str(said[-1])


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def test_nothing_is_said_to_be_deleted_by_who_comes_to_another_broker(source: AmqpSource) -> None:
    """Nor when the bridge comes back; each URL is named in the log."""
    for _ in range(4):
        connect(source)
        received(source, [])
    counts = notices.NOTICES.counts()
    assert (0, 0) == (counts["queue-made"], counts["gap"])


def test_each_change_of_the_broker_is_logged(
    source: AmqpSource, urls: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """By its URL, without the password."""
    for _ in range(2):
        connect(source)
    said = [text for record in caplog.records if (text := record.getMessage()).startswith("connected to broker")]
    assert said == [f"connected to broker {hide_in_url(url)}, one of 2" for url in urls]
    assert "guest:guest" not in caplog.text


def test_a_bridge_goes_where_events_wait_that_nobody_consumes(
    source: AmqpSource, urls: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Workers are back at the first broker, and the bridge is at the second, with nothing to do there."""
    connect(source)
    connect(source)
    published = oracle.numbered(0, 50)
    oracle.publish(urls[0], published)
    found: list[bytes] = []
    until(lambda: len(received(source, found)) >= 50, 30, "all are received")
    assert not oracle.missing([each.body for each in published], found)
    assert notices.NOTICES.counts()["left-behind"] >= 1
    assert connected_to(caplog) == hide_in_url(urls[0])


def test_a_bridge_that_has_something_to_do_says_what_waits_elsewhere(
    source: AmqpSource, urls: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It stays, and is not ready."""
    connect(source)
    connect(source)
    oracle.publish(urls[0], oracle.numbered(0, 3))

    def waits() -> bool:
        oracle.publish(urls[1], oracle.numbered(3, 1))
        received(source, [])
        return source.held_up == f"3 messages wait at broker {hide_in_url(urls[0])}, where nobody consumes them"

    until(waits, 30, "it is said")
    assert connected_to(caplog) == hide_in_url(urls[1])


def test_what_is_given_back_for_its_size_is_received_from_the_same_broker_again(
    source: AmqpSource, urls: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Memory is no reason to go elsewhere."""
    connect(source)
    with suppress(GivenBack):
        source.steer(2**40, lambda: 0)
    connect(source)
    assert connected_to(caplog) == hide_in_url(urls[0])


def test_check_looks_at_each_broker_and_warns_of_what_nobody_consumes(urls: tuple[str, str], tmp_path: Path) -> None:
    """In the live queue and in overflow, of any of them."""
    settings = SqliteStore(tmp_path).settings
    run_to_end("celery_event_bridge", "queues", "declare", **settings, BRIDGE_BROKER_URL=urls[1])
    oracle.publish(urls[1], oracle.numbered(0, 7))
    until(lambda: oracle.depth(urls[1], f"{LIVE}.overflow") == 7, 20, "they have expired")
    done = run_to_end("celery_event_bridge", "check", **settings, BRIDGE_BROKER_URL=";".join(urls))
    assert f"queue {LIVE}: not there yet, run will declare it" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "nobody consumes" in line]
    assert line.split()[:8] == ["warn", "queue", f"{LIVE}.overflow:", "7", "messages", "ready,", "and", "nobody"]
