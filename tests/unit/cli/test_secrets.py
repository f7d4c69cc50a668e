"""No secret gets out: settings made from a grammar of mistakes, through every command, in this process."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import AccessRefused
from click.testing import CliRunner
from kombu.transport.pyamqp import Transport
from redis.connection import AbstractConnection
from redis.exceptions import AuthenticationError

from celery_event_bridge import cli
from celery_event_bridge.brokers.rabbitmq.connection import connect
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.cli import audit, replay, source_and_target, tail
from celery_event_bridge.config.loading import Loaded, load
from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url, hide_secrets
from celery_event_bridge.forward.relay import Relay
from celery_event_sinks.kafka import cluster
from celery_event_sinks.kafka.reader import KafkaReader
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from celery_event_sinks.redis import client as redis_client
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.settings import RedisSettings
from tests.support.mistakes import FRAGMENT, Case, Grammar
from tests.support.stores import FULL

COUNT = 10_000 if FULL else 500
LINE = re.compile(r"celery-event-bridge[ \w-]*: |\{.*\}$")
"""Beginning of each line of errors: what is told is told in one."""


def told(case: Case, text: str) -> list[str]:
    """The fragments of the secret that are in a text."""
    words = re.findall(r"Zq[a-zA-Z]{8}", case.secret)
    return [word for word in words if any(word[n : n + FRAGMENT] in text for n in range(len(word) - FRAGMENT + 1))]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Case], tuple[int, str, str]]:
    """Calls a command in this process, where nothing can be reached."""

    def refused(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    def away(*_: Any) -> Any:
        raise SinkUnavailable("nobody is there")

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BRIDGE_", "CELERY_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    for module in (tail, audit, source_and_target, replay):
        monkeypatch.setattr(module, "PATIENCE", 0.0, raising=False)
    monkeypatch.setattr(source_and_target, "SINKS_PATIENCE", 0.0)
    monkeypatch.setattr(cluster, "ANSWER", 0.02)
    monkeypatch.setattr(Relay, "run", lambda _: 0)
    for kind in (KafkaSink, KafkaReader):
        monkeypatch.setattr(kind, "open", away)
    monkeypatch.setattr(KafkaSink, "available", away)

    def call(case: Case) -> tuple[int, str, str]:
        """The exit code, what was printed, and what was said of errors."""
        notices.NOTICES.clear()
        with monkeypatch.context() as patched:
            for name, text in case.environ.items():
                patched.setenv(name, text)
            with CliRunner().isolation() as (out, err, _):
                chosen = load(os.environ) if case.later is not None else None
                code = cli.exit_code_of(case.arguments)
                if chosen is not None:
                    case.change()
                    log_in_again(chosen, patched)
                return code, out.getvalue().decode(), err.getvalue().decode()

    return call


def log_in_again(chosen: Loaded, patched: pytest.MonkeyPatch) -> None:
    """Print what is said where the old login is refused at each end, as it is before the last net of the log."""
    settings, redis, kafka = chosen.broker[1], chosen.sinks["redis"][1], chosen.sinks["kafka"][1]
    assert isinstance(settings, Settings)
    assert isinstance(redis, RedisSettings)
    assert isinstance(kafka, KafkaSettings)
    refusal = AuthenticationError("WRONGPASS invalid username-password pair or user is disabled.")
    patched.setattr(Transport, "establish_connection", Mock(side_effect=AccessRefused("Login was refused", (10, 11))))
    patched.setattr(AbstractConnection, "connect", Mock(side_effect=refusal))
    patched.setattr(redis_client, "resolve", lambda *_: None)
    client = RedisClient(redis.url)
    for attempt in (lambda: connect(settings, settings.broker_urls[0], role="test"), client.connect):
        for _ in range(2):
            with pytest.raises((BrokerUnavailable, SinkUnavailable)) as failure:
                attempt()
            print(failure.value)
    if settings.management_url is not None:
        Management(settings)
    print(kafka.fresh().bootstrap_servers)


def cases(count: int, folder: Path) -> Iterator[Case]:
    for seed in range(count):
        yield Grammar(seed, folder).case()


@pytest.mark.timeout(900)
def test_no_secret_gets_out(invoke: Callable[[Case], tuple[int, str, str]], tmp_path: Path) -> None:
    """Of settings that are wrong in every way, in no command's output, which is no traceback either."""
    leaks, changed, told_of = [], 0, 0
    for number, case in enumerate(cases(COUNT, tmp_path)):
        code, printed, errors = invoke(case)
        text = printed + errors
        assert code in (0, 1, 2, 3), (number, case, text)
        assert "Traceback" not in text, (number, case, text)
        assert not [line for line in errors.splitlines() if line and not LINE.match(line)], (number, case, errors)
        if case.later is not None:
            changed += 1
            told_of += "secret-file" in errors
        if found := told(case, text):
            leaks.append((number, found, case, text))
    assert not leaks, f"{len(leaks)} of {COUNT}: {leaks[:3]}"
    assert told_of > changed / 4 > 0, (told_of, changed)


def test_a_secret_that_is_told_is_found(invoke: Callable[[Case], tuple[int, str, str]]) -> None:
    """The same look finds one in a setting that is no secret: a queue's name in the list of settings."""
    case = Case("ZqabcdefghZqijklmnop", {"BRIDGE_QUEUE": "ZqabcdefghZqijklmnop", "BRIDGE_HTTP": "off"}, ["settings"])
    assert ["Zqabcdefgh", "Zqijklmnop"] == told(case, "".join(invoke(case)[1:]))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://u:PW%40host", "amqp://**"),
        ("amqp://u:PWhost", "amqp://**"),
        ("redis://u:PWhost/0", "redis://**"),
        ("amqp://u:P\nW@h", "amqp://**"),
        ("amqp://u:p@h/v?login_response=SECRET&heartbeat=10", "amqp://u:**@h/v?login_response=**&heartbeat=10"),
        ("PW\n", "**"),
    ],
)
def test_what_cannot_be_taken_apart_is_not_repeated(url: str, shown: str) -> None:
    """Nor is a parameter that is not known to be harmless."""
    assert shown == hide_in_url(url)


def test_a_forgotten_at_is_hidden_in_a_text_too() -> None:
    """As a library may repeat a URL, in a sentence of its own."""
    text = "cannot reach amqp://u:PWhost/v, nor amqp://u:PW%40host; is amqp://h:5672//: there?"
    assert "cannot reach amqp://u:**/v, nor amqp://u:**; is amqp://h:5672//: there?" == hide_secrets(text)
