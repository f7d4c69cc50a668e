"""What the pages on TLS and on rights print runs, against servers that are set up as they say.

Named for Kafka, so that of several processes one runs all of it, which has a node of Kafka anyway.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers.debian import free_port
from tests.servers.kafka import NativeKafka
from tests.servers.rabbitmq import NativeRabbitMQ
from tests.servers.redis import NativeRedis
from tests.terminal.page import END, Page, repeated
from tests.terminal.pages import ROOT, configuration
from tests.terminal.terminal import Terminal
from tests.terminal.world import World

pytestmark = pytest.mark.timeout(1200)

TLS, RIGHTS = "docs/how-to/tls.md", "docs/how-to/rights.md"
HERE = "DNS:localhost,DNS:127.0.0.1,IP:127.0.0.1"
READY = 'curl --silent --fail "$BRIDGE_HTTP/readyz"'


class Removable(Protocol):
    def remove(self) -> None: ...


@pytest.fixture
def servers() -> Iterator[list[Removable]]:
    """Servers of the test's own, which end with it."""
    started: list[Removable] = []
    yield started
    for server in started:
        server.remove()


@pytest.fixture
def certified(world: World, terminal: Terminal) -> Terminal:
    """A terminal with the certificates of the page, for the names that servers have here."""
    folder = terminal.folder / "tls"
    terminal.replaced[:0] = [(r"/etc/bridge-tls", str(folder)), (r"DNS:\$name", f"DNS:$name,{HERE}")]
    terminal.run("export TYPED_TRAFFIC=")
    Page(TLS).type(world, terminal, "Certificates")
    return terminal


def of_server(language: str, containing: str, folder: Path) -> str:
    """Return what the page says of a server's side, with the folder of here."""
    return configuration(ROOT / TLS, language, containing).replace("/etc/bridge-tls", str(folder / "tls"))


def serial(source: str, folder: Path) -> str:
    """Return the serial number of a certificate that a command prints."""
    command = f"{source} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    done = subprocess.run(["bash", "-c", command], cwd=folder / "tls", capture_output=True, text=True, timeout=60)
    assert done.stdout, f"{source}: no certificate: {done.stderr}"
    return done.stdout


def served(port: int, folder: Path) -> str:
    """Serial number of the certificate that a server shows now."""
    ours = "-CAfile ca.pem -cert bridge.pem -key bridge.key"
    return serial(f"openssl s_client -connect 127.0.0.1:{port} {ours}", folder)


class Renewal:
    """Steps of a test that see a certificate renewed on a server, and a bridge go on by its new one."""

    def __init__(self, name: str, port: int, folder: Path, end: str) -> None:
        self._name, self._port, self._folder, self._end = name, port, folder, end
        self._before = serial(f"cat {name}.pem", folder)

    def before(self, _world: World, _terminal: Terminal) -> None:
        assert self._before == served(self._port, self._folder)

    def after(self, terminal: Terminal) -> None:
        """With all connections cut, or the server restarted, a moment ago."""
        now = serial(f"cat {self._name}.pem", self._folder)
        assert self._before != now
        assert now == served(self._port, self._folder)
        metric = f'celery_bridge_reconnects_total.end="{self._end}". [1-9]'
        repeated(terminal, f"curl --silent \"$BRIDGE_HTTP/metrics\" | grep '{metric}'")
        repeated(terminal, READY)


def test_blocks_on_tls_to_rabbitmq(world: World, certified: Terminal, servers: list[Removable]) -> None:
    """Encrypted, then mutual: who has no certificate is refused; a renewed one is served, and the bridge goes on."""
    port, folder = free_port(), certified.folder
    config = of_server("ini", "listeners.ssl", folder).replace("ssl.default = 5671", f"ssl.1 = 127.0.0.1:{port}")
    certified.replaced.insert(0, ("amqps://user:password@rabbitmq:5671", f"amqps://guest:guest@localhost:{port}"))
    nodes: list[NativeRabbitMQ] = []

    def start(text: str) -> None:
        while nodes:
            nodes.pop().remove()
        nodes.append(NativeRabbitMQ(text))
        servers.append(nodes[0])
        nodes[0].start()
        certified.program("rabbitmqctl", f'exec {nodes[0].control()} "$@"')

    def mutual(_world: World, terminal: Terminal) -> None:
        start(config.replace("no_peer_cert = false", "no_peer_cert = true"))
        terminal.run("! celery-event-bridge check")

    renewal = Renewal("rabbitmq", port, folder, "broker")

    def last(_world: World, terminal: Terminal) -> None:
        nodes[0].ctl("close_all_connections", "renewed")
        renewal.after(terminal)

    start(config)
    steps = {"BRIDGE_BROKER_TLS_CERT": mutual, "clear_pem_cache": renewal.before, END: last}
    Page(TLS, at=steps).type(world, certified, "RabbitMQ")


def test_blocks_on_tls_to_redis(world: World, certified: Terminal, servers: list[Removable]) -> None:
    """The same for Redis, by the certificates in its URL."""
    port, folder = free_port(), certified.folder
    text = of_server("ini", "tls-port", folder).replace("tls-port 6380", f"tls-port {port}")
    server = NativeRedis(*(word for line in text.splitlines() for word in f"--{line}".split()))
    servers.append(server)
    server.start()
    certified.replaced[:0] = [("rediss://redis:6380", f"rediss://localhost:{port}"), ("-h redis -p 6380", f"-p {port}")]
    renewal = Renewal("redis", port, folder, "redis")

    def last(_world: World, terminal: Terminal) -> None:
        terminal.run("! BRIDGE_REDIS_URL=${BRIDGE_REDIS_URL%%&*} celery-event-bridge check")  # without its own
        with closing(server.client()) as client:
            client.client_kill_filter(_type="normal")
        renewal.after(terminal)

    steps = {"config set tls-cert-file": renewal.before, END: last}
    Page(TLS, at=steps).type(world, certified, "Redis")


def test_blocks_on_tls_to_kafka(world: World, certified: Terminal, servers: list[Removable]) -> None:
    """The same for Kafka, whose broker is restarted."""
    folder = certified.folder
    tls = folder / "tls"
    certified.run("cd tls; cat kafka.key kafka.pem > kafka-both.pem; cp kafka.key server.key; cp kafka.pem server.pem")
    certified.run(f"cd {folder}")
    lines = of_server("properties", "ssl.keystore", folder).splitlines()
    page = dict(line.split("=", 1) for line in lines if not line.startswith(("listeners", "advertised")))
    server = NativeKafka(certificates=tls, config=page)
    servers.append(server)
    server.start()
    certified.replaced.insert(0, (r"\bkafka:9093", server.tls_bootstrap))
    renewal = Renewal("kafka", int(server.tls_bootstrap.rpartition(":")[2]), folder, "kafka")

    def last(_world: World, terminal: Terminal) -> None:
        terminal.run(
            "! BRIDGE_KAFKA_SSL_KEY_LOCATION= BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION= celery-event-bridge check"
        )
        server.restart()
        renewal.after(terminal)

    Page(TLS, at={"cat kafka.key": renewal.before, END: last}).type(world, certified, "Kafka")


def test_blocks_on_rights_of_rabbitmq(world: World, terminal: Terminal) -> None:
    """Users with the rights of the page check, run, park, look and replay; a right less is told of."""

    def without(world: World, terminal: Terminal) -> None:
        looked(terminal)
        terminal.run("celery-event-bridge rejected list; celery-event-bridge queues show")
        world.rabbitmq.ctl("set_permissions", "bridge", "^$", "^$", "^celeryev")
        terminal.run("! celery-event-bridge check")
        terminal.run("unset BRIDGE_BROKER_URL")

    def replayed(world: World, terminal: Terminal) -> None:
        target = f"amqp://replayer:sesame@{world.broker}/elsewhere"
        command = f"celery-event-bridge replay --from sqlite:///celery-events.db --to {target}"
        world.rabbitmq.ctl("add_user", "replayer", "sesame")
        world.rabbitmq.ctl("set_permissions", "-p", "elsewhere", "replayer", "^$", "^celeryev$", "^$")
        terminal.run(command)
        world.rabbitmq.ctl("set_permissions", "-p", "elsewhere", "replayer", "^celeryev$", "^$", "^celeryev$")
        terminal.run(f"! {command}")

    try:
        Page(RIGHTS, at={"bridge-only": without, END: replayed}).type(world, terminal, "RabbitMQ")
    finally:
        for user in ("bridge", "bridge-only", "viewer", "replayer"):
            world.rabbitmq.ctl("delete_user", user)


def looked(terminal: Terminal) -> None:
    """Wait until the bridge has looked at its queues, and see that no right was missing for that."""
    metrics = 'curl --silent "$BRIDGE_HTTP/metrics"'
    repeated(terminal, f"{metrics} | grep 'celery_bridge_queue_messages{{'")
    terminal.run(f"! {metrics} | grep 'kind=\"rights\". [1-9]'")


def test_blocks_on_rights_of_redis(world: World, terminal: Terminal, servers: list[Removable]) -> None:
    """Redis denies a bridge and a reader nothing but what the page says may be left out."""
    server = NativeRedis()
    servers.append(server)
    server.start()
    terminal.replaced.insert(0, (r"\bredis:6379", f"127.0.0.1:{server.port}"))

    def denied(_world: World, _terminal: Terminal) -> None:
        with closing(server.client()) as client:
            refused = {entry["object"] for entry in client.acl_log()}
        assert refused <= {"config|get"}

    Page(RIGHTS, at={END: denied}).type(world, terminal, "Redis")


def test_blocks_on_rights_of_kafka(world: World, terminal: Terminal, servers: list[Removable]) -> None:
    """A user without them is refused; with them the topic is made, and stored into, and read by a reader."""
    server = NativeKafka(users={"bridge": "open-sesame", "reader": "open-sesame"})
    servers.append(server)
    server.start()
    terminal.replaced.insert(0, (r"\bkafka:9092", server.bootstrap))
    login = "PLAIN BRIDGE_KAFKA_SASL_USERNAME=bridge BRIDGE_KAFKA_SASL_PASSWORD=open-sesame"
    terminal.run(f"export BRIDGE_SINK=kafka BRIDGE_KAFKA_BOOTSTRAP_SERVERS={server.sasl_bootstrap}")
    terminal.run(f"export BRIDGE_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT BRIDGE_KAFKA_SASL_MECHANISM={login}")
    terminal.run("! celery-event-bridge check")
    Page(RIGHTS).type(world, terminal, "Kafka")
