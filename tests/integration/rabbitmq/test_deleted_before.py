"""Queues of ours that somebody deletes while no bridge runs: told of by the next start, and by the commands."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology, declare_queue, declare_witness
from celery_event_bridge.brokers.rabbitmq.upkeep import Upkeep
from celery_event_bridge.contract import notices
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.others import LIVE
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

OVERFLOW, PARKING = f"{LIVE}.overflow", f"{LIVE}.rejected"
WITNESSES = (f"{LIVE}.witness", f"{LIVE}.witness.queue")


def topology_of(url: str) -> Topology:
    return Topology.from_settings(Settings(broker_url=url))


def start(url: str) -> None:
    """A bridge's upkeep starts, and ends."""
    with oracle.broker(url) as connection:
        Upkeep(topology_of(url), declares=True).open(connection)


def delete(channel: amqp.Channel, queues: Sequence[str]) -> None:
    for queue in queues:
        channel.queue_delete(queue)


@pytest.mark.parametrize(
    ("queues", "gaps"),
    [([LIVE], 1), ([OVERFLOW], 1), ([PARKING], 0), ([LIVE, OVERFLOW, PARKING], 1)],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)
def test_queues_that_were_deleted_while_no_bridge_ran_are_told_of(
    broker_url: str, queues: list[str], gaps: int
) -> None:
    """By the next start with a warning for each and a gap for what was on its way; by the one after it no more."""
    start(broker_url)
    assert 0 == notices.NOTICES.counts()["queue-made"]
    with oracle.broker(broker_url) as connection:
        delete(connection.channel(), queues)
    start(broker_url)
    assert len(queues) == notices.NOTICES.counts()["queue-made"]
    assert gaps == notices.NOTICES.counts()["gap"]
    start(broker_url)
    assert len(queues) == notices.NOTICES.counts()["queue-made"]
    assert gaps == notices.NOTICES.counts()["gap"]


@pytest.mark.parametrize("queues", [[LIVE], [OVERFLOW], [LIVE, OVERFLOW]], ids="+".join)
def test_any_queue_that_is_left_tells_of_those_that_were_deleted(broker_url: str, queues: list[str]) -> None:
    """A bridge without the right to declare a witness has none, and the witness goes with the exchange."""
    start(broker_url)
    with oracle.broker(broker_url) as connection:
        delete(connection.channel(), queues)
        for witness in WITNESSES:
            connection.channel().exchange_delete(witness)
    start(broker_url)
    assert len(queues) == notices.NOTICES.counts()["queue-made"]


def test_a_first_start_beside_another_takes_no_queue_for_deleted(broker_url: str) -> None:
    """Although it sees the first of the queues that the other declares, and not the last."""
    topology = topology_of(broker_url)

    def go_on(channel: amqp.Channel) -> None:
        topology.declare(channel)
        declare_witness(channel, topology)

    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        declare_queue(channel, topology.rejected)
        later = threading.Timer(0.5, go_on, [channel])
        later.start()
        try:
            start(broker_url)
        finally:
            later.join()
    counts = notices.NOTICES.counts()
    assert (0, 0, 0) == (counts["queue-made"], counts["gap"], counts["queue-declared"])


def test_a_first_start_beside_one_that_has_no_witness_yet_is_no_gap(broker_url: str) -> None:
    """The other has declared the exchange and the queues, and is about to declare what a later deletion is seen by."""
    topology = topology_of(broker_url)
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        topology.declare(channel)
        later = threading.Timer(0.3, declare_witness, [channel, topology])
        later.start()
        try:
            start(broker_url)
        finally:
            later.join()
    assert 0 == notices.NOTICES.counts()["gap"]


def test_deleted_queues_are_told_of_by_check_and_queues_declare(broker_url: str, tmp_path: Path) -> None:
    """Which else declares them anew, so that nobody would see any more what has become of the events."""
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url}
    assert "anew" not in run_to_end("celery_event_bridge", "queues", "declare", **settings).stdout
    with closing(oracle.broker(broker_url)) as connection:
        delete(connection.channel(), [LIVE, OVERFLOW])
    checked = run_to_end("celery_event_bridge", "check", **settings).stdout
    for queue in (LIVE, OVERFLOW):
        assert f"queue {queue}: not there, though a bridge was here before: it was deleted" in checked
    declared = run_to_end("celery_event_bridge", "queues", "declare", **settings).stdout.splitlines()
    assert 2 == sum(
        line.endswith("anew: it was there before and was deleted, and what it held is gone") for line in declared
    )
    assert "anew" not in run_to_end("celery_event_bridge", "queues", "declare", **settings).stdout
