"""TLS to RabbitMQ, mutual and verified, against a node that takes nothing else on that port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers.debian import free_port, until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import SqliteStore

CONFIG = """
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Iterator[int]:
    """The TLS port of a node of the test's own."""
    port = free_port()
    server = NativeRabbitMQ(CONFIG.format(port=port, folder=certificates))
    try:
        server.start()
        yield port
    finally:
        server.remove()


def settings(folder: Path, url: str) -> dict[str, str]:
    return {
        "BRIDGE_BROKER_URL": url,
        "BRIDGE_BROKER_TLS_CA": str(folder / "ca.pem"),
        "BRIDGE_BROKER_TLS_CERT": str(folder / "client.pem"),
        "BRIDGE_BROKER_TLS_KEY": str(folder / "client.key"),
    }


def test_events_through_mutual_tls(
    start_bridge: Callable[..., Bridge], certificates: Path, tls_port: int, tmp_path: Path
) -> None:
    """With both certificates right, messages of every size arrive, and parking has a TLS connection too."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**settings(certificates, f"amqps://localhost:{tls_port}//"), **store.settings).await_ready()
    plain = oracle.numbered(0, 200, size=300) + oracle.numbered(200, 5, size=400_000)
    pickled = oracle.Published(b"\x80\x04.", {"content_type": "application/x-python-serialize"}, "x")
    connection = oracle.broker(f"amqps://localhost:{tls_port}//", certificates)
    confirms = oracle.Confirms(connection.channel())
    confirms.publish([*plain, pickled])
    confirms.wait()
    connection.close()
    until(lambda: store.count() == 205 and bridge.metric("messages_rejected_total") == 1, 30, "all has arrived")
    assert {message.body for message in plain} == set(store.bodies())
    assert 0 == bridge.stop()


@pytest.mark.parametrize(
    ("host", "change", "wanted"),
    [
        ("localhost", {"BRIDGE_BROKER_TLS_CA": ""}, "certificate verify failed"),
        ("127.0.0.1", {}, "certificate verify failed"),
        ("localhost", {"BRIDGE_BROKER_TLS_CERT": "", "BRIDGE_BROKER_TLS_KEY": ""}, "cannot connect"),
    ],
    ids=["unknown CA", "another host's certificate", "no client certificate"],
)
def test_what_is_not_trusted_is_one_line(
    certificates: Path, tls_port: int, tmp_path: Path, host: str, change: dict[str, str], wanted: str
) -> None:
    """`check` says why, and exits 1; nothing is sent to a broker that cannot prove who it is."""
    variables = settings(certificates, f"amqps://{host}:{tls_port}//") | change
    done = run_to_end("celery_event_bridge", "check", BRIDGE_SQLITE_PATH=str(tmp_path / "events.db"), **variables)
    assert 1 == done.returncode
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert wanted in line


def test_verification_can_be_switched_off(certificates: Path, tls_port: int, tmp_path: Path) -> None:
    """For a test system: any certificate will do."""
    variables = settings(certificates, f"amqps://127.0.0.1:{tls_port}//") | {"BRIDGE_BROKER_TLS_VERIFY": "false"}
    done = run_to_end("celery_event_bridge", "check", BRIDGE_SQLITE_PATH=str(tmp_path / "events.db"), **variables)
    assert 0 == done.returncode, done.stdout


def test_tls_to_a_port_without_it_is_named_as_such(certificates: Path, broker_url: str, tmp_path: Path) -> None:
    """`check` says what to change, and shows no code of OpenSSL's."""
    variables = settings(certificates, broker_url.replace("amqp://", "amqps://"))
    done = run_to_end("celery_event_bridge", "check", BRIDGE_SQLITE_PATH=str(tmp_path / "events.db"), **variables)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert "no TLS on that port: give amqp:// in BRIDGE_BROKER_URL" in line
    assert "SSL" not in line
