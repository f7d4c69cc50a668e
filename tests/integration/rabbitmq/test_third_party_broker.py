"""A broker that is not ours: installed as a package, chosen by its URL, with no edit to the bridge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.config import plugins
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.contract.broker_plugin import BrokerPlugin
from celery_event_bridge.testing import BrokerContract
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

EXAMPLE = Path(__file__).parents[3] / "examples/broker"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the package of the example, for a process's path."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--no-index", "--target", folder, EXAMPLE],
        check=True,
        timeout=120,
        capture_output=True,
    )
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of messages."""
    (tmp_path / "events").mkdir()
    return tmp_path / "events"


def put(folder: Path, bodies: list[bytes]) -> None:
    """Publish: each file is there whole or not at all."""
    for body in bodies:
        made = folder / f"{len([*folder.iterdir()]):06}-{os.getpid()}.part"
        made.write_bytes(body)
        made.rename(made.with_suffix(".json"))


def test_a_broker_of_a_third_party_forwards_into_sqlite(installed: Path, folder: Path, tmp_path: Path) -> None:
    """All that was put into the folder is stored, and removed there; what is no event is parked beside it."""
    events = [event.body for event in oracle.numbered(0, 50)]
    put(folder, [*events, b"no event"])
    store = SqliteStore(tmp_path)
    settings = store.settings | {"BRIDGE_BROKER_URL": f"folder://{folder}", "PYTHONPATH": str(installed)}
    bridge = Bridge(tmp_path / "bridge.log", settings)
    try:
        bridge.await_ready()
        until(lambda: store.count() == 50 and not [*folder.glob("*.json")], 20, "all of it is stored and gone")
        assert sorted(events) == sorted(store.bodies())
        assert [b"no event"] == [path.read_bytes() for path in (folder / "rejected").iterdir()]
        assert bridge.stop() == 0
    finally:
        bridge.end()


def test_what_it_cannot_do_is_said_in_a_line(installed: Path, folder: Path, tmp_path: Path) -> None:
    """A broker without queues, without parked messages to show, and that nothing is published into."""
    settings = {"BRIDGE_BROKER_URL": f"folder://{folder}", "PYTHONPATH": str(installed)}
    for command, says in (
        (["queues", "show"], "there are no queues to see to"),
        (["rejected", "list"], "nothing is parked where it could be looked at"),
        (["tap"], "no live events can be looked at beside the bridge"),
        (["replay", "--to", f"folder://{folder}"], "events cannot be sent to a broker of this kind"),
    ):
        done = run_to_end("celery_event_bridge", *command, **settings)
        assert (2, 1) == (done.returncode, len(done.stderr.splitlines())), done.stderr
        assert says in done.stderr
    done = run_to_end("celery_event_bridge", "check", **settings, **SqliteStore(tmp_path).settings)
    assert f"ok   folder {folder}" in done.stdout.splitlines(), done.stdout + done.stderr


class TestTheExample(BrokerContract):
    """The example holds what every broker has to."""

    @pytest.fixture
    def make_broker(
        self, installed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], BrokerPlugin]]:
        monkeypatch.syspath_prepend(str(installed))
        plugins.forget()
        made = plugins.broker("folder://")
        yield lambda: made(made.Settings(broker_url=f"folder://{folder}"))
        plugins.forget()

    @pytest.fixture
    def publish(self, folder: Path) -> Callable[[list[bytes]], None]:
        return lambda bodies: put(folder, bodies)

    @pytest.fixture
    def parked(self, folder: Path) -> Callable[[], list[bytes]]:
        return lambda: [path.read_bytes() for path in (folder / "rejected").iterdir()]


class TestRabbitMQ(BrokerContract):
    """Our own holds it too."""

    @pytest.fixture
    def make_broker(self, broker_url: str) -> Callable[[], BrokerPlugin]:
        made = plugins.broker(broker_url)
        return lambda: made(made.Settings(broker_url=broker_url))

    @pytest.fixture
    def publish(self, broker_url: str) -> Callable[[list[bytes]], None]:
        def publish(bodies: list[bytes]) -> None:
            with oracle.broker(broker_url) as connection:
                channel = connection.channel()
                for body in bodies:
                    message = amqp.Message(body, content_type="application/json", delivery_mode=2)
                    channel.basic_publish_confirm(message, "celeryev", "task.sent")

        return publish

    @pytest.fixture
    def parked(self, broker_url: str) -> Callable[[], list[bytes]]:
        def parked() -> list[bytes]:
            with oracle.broker(broker_url) as connection:
                channel = connection.channel()
                found = iter(lambda: channel.basic_get("celeryev.bridge.rejected"), None)
                return [bytes(message.body) for message in found]

        return parked

    def message(self, content: bytes) -> Message:
        return Delivered("a lane", 1, content, "application/json", {})
