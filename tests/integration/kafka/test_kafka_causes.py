"""Kafka that cannot be used: the cause that the client knows is said, by the sink as by a reader, and what to do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from celery_event_bridge import open_reader
from celery_event_bridge.config.loading import load_stream
from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.servers.debian import program
from tests.support.servers.kafka import NativeKafka
from tests.support.stores import FULL

TLS = "BRIDGE_KAFKA_SECURITY_PROTOCOL"


@pytest.fixture(scope="module")
def folder(certificates: Path) -> Path:
    """Certificates of the module's own: of server and client, and one of a client that has expired."""
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "0")
    command = [program("openssl", "openssl"), "x509", "-req", "-in", "client.csr", "-out", "expired.pem", *signed]
    subprocess.run(command, cwd=certificates, check=True, capture_output=True)
    return certificates


@pytest.fixture(scope="module")
def encrypted(folder: Path) -> Iterator[NativeKafka]:
    """A node with a port that wants a client's certificate, and a plain one."""
    server = NativeKafka(certificates=folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def unreachable() -> Iterator[NativeKafka]:
    """A node that advertises an address at which nobody is."""
    server = NativeKafka()
    server.advertised[1] = 1
    try:
        server.start()
        yield server
    finally:
        server.remove()


def settings(folder: Path, server: NativeKafka) -> dict[str, str]:
    return {
        "BRIDGE_SINK": "kafka",
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.tls_bootstrap,
        TLS: "SSL",
        "BRIDGE_KAFKA_SSL_CA_LOCATION": str(folder / "ca.pem"),
        "BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION": str(folder / "client.pem"),
        "BRIDGE_KAFKA_SSL_KEY_LOCATION": str(folder / "client.key"),
        # The node's addresses are numbers, and its certificate is for a name.
        "BRIDGE_KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": "none",
    }


def told(environ: dict[str, str]) -> list[str]:
    """What the sink says, to `check` as to `run`, and what a reader gives up with."""
    sink = KafkaSink(load_stream("kafka", KafkaSettings, environ, {}))
    try:
        sink.open()
        with pytest.raises(SinkUnavailable) as of_the_sink:
            sink.available()
    finally:
        sink.close()
    with (
        pytest.raises(SinkUnavailable) as of_the_reader,
        open_reader(environ=environ, follow=False, give_up_after=1.0) as reader,
    ):
        next(iter(reader))
    return [str(of_the_sink.value), str(of_the_reader.value)]


CASES = {
    "another name": ({"BRIDGE_KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": "https"}, "the host has to be named in it"),
    "no CA": ({"BRIDGE_KAFKA_SSL_CA_LOCATION": ""}, "BRIDGE_KAFKA_SSL_CA_LOCATION has to be the CA"),
    "no certificate": (
        {"BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION": "", "BRIDGE_KAFKA_SSL_KEY_LOCATION": ""},
        "it wants a client's certificate that it knows",
    ),
    "an expired one": (
        {"BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION": "{folder}/expired.pem"},
        "BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION",
    ),
    "a plain port": ({"BRIDGE_KAFKA_BOOTSTRAP_SERVERS": "{plain}"}, "it speaks no TLS on that port"),
    "in the clear": ({TLS: ""}, "BRIDGE_KAFKA_SECURITY_PROTOCOL=SSL), one for a login (SASL_PLAINTEXT, SASL_SSL)"),
}
"""Each takes ten seconds, in which the client asks in vain: two are enough, but for a run at full length."""


@pytest.mark.parametrize("case", CASES if FULL else ("no certificate", "in the clear"))
def test_what_keeps_tls_away_is_said_with_the_remedy(folder: Path, encrypted: NativeKafka, case: str) -> None:
    """And not that no broker answers, since one did."""
    change, said = CASES[case]
    names = {"folder": str(folder), "plain": encrypted.bootstrap}
    given = settings(folder, encrypted) | {key: text.format(**names) for key, text in change.items()}
    for line in told({key: text for key, text in given.items() if text}):
        assert said in line
        assert "no Kafka broker answers" not in line


def test_a_wrong_advertised_address_is_named(unreachable: NativeKafka) -> None:
    """With the address, and the Kafka property that it comes from."""
    for line in told({"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": unreachable.bootstrap}):
        assert f"Kafka at {unreachable.bootstrap} answers and says that its broker 1 is at 127.0.0.1:1" in line
        assert "advertised.listeners" in line
        assert "suppressed" not in line


def test_tls_settings_that_do_nothing_are_warned_of(folder: Path, encrypted: NativeKafka) -> None:
    """Certificates without BRIDGE_KAFKA_SECURITY_PROTOCOL leave the events in the clear."""
    given = KafkaSettings(bootstrap_servers=encrypted.bootstrap, ssl_ca_location=str(folder / "ca.pem"))
    sink = KafkaSink(given)
    try:
        sink.open()
        sink.available()
        texts = [finding.text for finding in sink.advice() if finding.verdict == "warn"]
    finally:
        sink.close()
    assert any("BRIDGE_KAFKA_SSL_CA_LOCATION is set" in text and "in the clear" in text for text in texts), texts
