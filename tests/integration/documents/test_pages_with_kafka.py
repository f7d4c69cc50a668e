"""What the documents print for a shell runs: the pages that name Kafka, and its parts of those on TLS and on rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.servers.kafka import NativeKafka
from tests.support.stores import at_full_length
from tests.support.terminal.page import END, Page
from tests.support.terminal.steps import another_topic, backed_up, clone, filled, previous, restored, stopped, wheel
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.tls import RIGHTS, TLS, Removable, Renewal, of_server
from tests.support.terminal.world import World

pytestmark = pytest.mark.timeout(1200)

PAGES = [
    Page("docs/quickstart.md", clone, at={"BRIDGE_SINK=redis": stopped, "BRIDGE_SINK=kafka": stopped}),
    Page("docs/how-to/kafka.md", clone, at={"kafka-topics.sh": another_topic}),
    Page("docs/how-to/audit.md", filled),
    Page("docs/how-to/replay.md", filled, backed_up("events.db")),
    Page("docs/how-to/operate.md", clone, wheel, filled, at={"0.0.9": previous, END: restored}),
]


@at_full_length
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Page, world: World, terminal: Terminal, packages: Path) -> None:
    """Each block that is typed into a shell ends well, in the order of the page."""
    terminal.run(f"export PYTHONPATH={packages}")
    page.type(world, terminal)


@at_full_length
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


@at_full_length
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
