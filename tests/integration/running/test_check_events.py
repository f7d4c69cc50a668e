"""`check` sees over AMQP alone whether what is published reaches the bridge's queue."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.checks import findings
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.secrets import hide_in_url
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import ROOT, free_port
from tests.support.terminal.pages import configuration

LIVE = "celeryev.bridge"
FEW = (
    "ok exchange celeryev: whether events are published is not looked at: this user needs configure, write and "
    "read on celeryev.bridge.*, and read on celeryev"
)


@pytest.fixture
def heartbeats(broker_url: str) -> Iterator[None]:
    """An event each two seconds, as of one worker, and our queues."""
    with oracle.broker(broker_url) as connection:
        Topology.from_settings(Settings(broker_url=broker_url)).declare(connection.channel())
    with publishing(broker_url):
        yield


@contextmanager
def publishing(broker_url: str) -> Iterator[None]:
    """An event each two seconds, as of one worker."""
    stopping = Event()

    def publish() -> None:
        for number in itertools.count():
            oracle.publish(broker_url, oracle.numbered(number, 1))
            if stopping.wait(2.0):
                return

    worker = Thread(target=publish)
    worker.start()
    try:
        yield
    finally:
        stopping.set()
        worker.join()


def test_the_quickstart_shows_what_check_prints(broker_url: str, tmp_path: Path) -> None:
    """Before the first `run`, with workers that send events: the same lines, but for address, path and port."""
    page = configuration(ROOT / "docs/quickstart.md", "", "ok   settings")
    address = f"127.0.0.1:{free_port()}"
    settings = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SQLITE_PATH": f"{tmp_path}/celery-events.db"}
    with oracle.broker(broker_url) as connection:
        connection.channel().exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    with publishing(broker_url):
        done = run_to_end("celery_event_bridge", "check", BRIDGE_HTTP=address, **settings)
    here = {hide_in_url(broker_url): "amqp://user:**@rabbitmq:5672//", str(tmp_path): "/home/you"}
    text = done.stdout
    for ours, theirs in (here | {address: "127.0.0.1:9810"}).items():
        text = text.replace(ours, theirs)
    assert page == text


def verdict(url: str, *, declare: bool = True) -> str:
    """The one on whether events come."""
    found = [
        finding
        for finding in findings(Settings(broker_url=url, declare=declare), lambda: "a stream")
        if "published" in finding.text
    ]
    (last,) = [finding for finding in found if "parking" not in finding.text]
    return f"{last.verdict} {last.text}"


@pytest.mark.usefixtures("heartbeats")
def test_events_that_nobody_consumes_yet_reach_the_queue(broker_url: str) -> None:
    """Before a bridge has run, though a quorum queue counts what is in it every five seconds only."""
    for _ in range(3):
        assert verdict(broker_url) == "ok exchange celeryev: events are published"


@pytest.mark.usefixtures("heartbeats")
def test_events_that_pass_the_queue_by_fail_check(broker_url: str) -> None:
    """A binding that somebody has removed is found out without the management API."""
    with oracle.broker(broker_url) as connection:
        connection.channel().queue_unbind(LIVE, "celeryev", "#")
    assert verdict(broker_url).startswith(
        f"FAIL events are published to exchange celeryev, and none reaches queue {LIVE}"
    )


def test_an_exchange_that_nobody_will_declare_fails_check(broker_url: str) -> None:
    """With BRIDGE_DECLARE=false no bridge declares or binds it, and `check` says so."""
    for declare, verdict, says in (
        ("true", "ok", "will declare it"),
        ("false", "FAIL", "BRIDGE_DECLARE=false leaves it"),
    ):
        done = run_to_end("celery_event_bridge", "check", BRIDGE_BROKER_URL=broker_url, BRIDGE_DECLARE=declare)
        (line,) = [line for line in done.stdout.splitlines() if "exchange celeryev: not there" in line]
        assert line.startswith(verdict)
        assert says in line


@pytest.mark.usefixtures("heartbeats")
@pytest.mark.parametrize(
    ("configure", "write", "read", "expected"),
    [
        # As docs/how-to/rights.md grants them.
        (
            r"^celeryev(\.bridge.*)?$",
            r"^(celeryev\.bridge.*|amq\.default)$",
            r"^celeryev(\.bridge.*)?$",
            "ok exchange celeryev: events are published",
        ),
        (
            "^$",
            r"^amq\.default$",
            r"^celeryev\.bridge(\.overflow)?$",
            FEW,
        ),
    ],
    ids=["all", "few"],
)
def test_the_documented_rights_are_enough_for_check(
    rabbitmq_server: RabbitMQ, broker_url: str, configure: str, write: str, read: str, expected: str
) -> None:
    """A look that takes more is left out, and said to be; no remedy is named for what needs none."""
    vhost, user = urlsplit(broker_url).path[1:], f"u{uuid.uuid4().hex[:8]}"
    rabbitmq_server.ctl("add_user", user, "secret")
    try:
        rabbitmq_server.ctl("set_permissions", "-p", vhost, user, configure, write, read)
        url = broker_url.replace("guest:guest@", f"{user}:secret@")
        assert verdict(url, declare=expected != FEW) == expected
    finally:
        rabbitmq_server.ctl("delete_user", user)
