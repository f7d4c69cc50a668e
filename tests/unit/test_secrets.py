"""No secret gets out: settings made from a grammar of mistakes, through every command, in this process."""

from __future__ import annotations

import os
import re
import socket
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from celery_event_bridge import cli
from celery_event_bridge.cli import audit, ends, replay, tail
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.secrets import hide_in_url, hide_secrets
from celery_event_bridge.forward.relay import Relay
from celery_event_sinks.kafka.reader import KafkaReader
from celery_event_sinks.kafka.sink import KafkaSink
from tests.stores import FULL

COUNT = 10_000 if FULL else 500
FRAGMENT = 6
"""Characters of a secret that are enough to count as told."""
SPECIAL = ["", "", "", "@", "/", ":", "?", "#", "%40", "%", "&", "=", ";", ",", " ", "\n", "\r\n", "\t", '"', "'", "\\"]
SPECIAL += ["{", "}", "[", "]", "\u00e9", "\u2100", "\x1f", "%0A", "$", "|", "**@"]
URLS = ["BRIDGE_BROKER_URL", "CELERY_BROKER_URL", "BRIDGE_REDIS_URL"]
SECRETS = [
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_KEY_PASSWORD",
    "KAFKA_SASL_KERBEROS_KINIT_CMD",
    "KAFKA_SSL_KEYSTORE_PASSWORD",
]
SECRETS += ["KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", "KAFKA_SASL_OAUTHBEARER_CONFIG", "KAFKA_SSL_KEY_PEM", "X_TOKEN"]
OTHERS = ["BRIDGE_QUEUE_TTL", "BRIDGE_HTTP", "BRIDGE_SINK", "BRIDGE_LOG_LEVEL", "BRIDGE_KAFKA_BOOTSTRAP_SERVERS"]
OTHERS += ["BRIDGE_KAFKA_SECURITY_PROTOCOL", "BRIDGE_KAFKA_TOPIC", "BRIDGE_REDIS_TRIM", "BRIDGE_SQLITE_RETENTION"]
OTHERS += [
    "BRIDGE_SQLITE_PATH",
    "BRIDGE_BROKER_TLS_CA",
    "BRIDGE_BROKER_TRANSPORT_OPTIONS",
    "BRIDGE_UNKNOWN",
    "BRIDGE_QUEUE",
]
COMMANDS = [["check"], ["run"], ["tail"], ["audit"], ["replay", "--to"], ["queues", "show"], ["queues", "declare"]]
COMMANDS += [["rejected", "list"], ["queues", "remove"]]


class Case(NamedTuple):
    """A secret, and how it was given."""

    secret: str
    environ: dict[str, str]
    arguments: list[str]


class Grammar:
    """Mistakes in settings, from a seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = Random(seed)
        self._folder = folder

    def case(self) -> Case:
        """One."""
        pick = self._dice.choice
        secret = self._word() + pick(SPECIAL) + self._word()
        environ = {"BRIDGE_HTTP": "off", "BRIDGE_SINK": pick(["sqlite", "redis", "kafka", "redis,kafka", "stdout"])}
        arguments = list(pick(COMMANDS))
        if arguments[-1] == "--to":
            arguments.append(pick([self._url(secret), "sqlite:///other.db", "amqp://127.0.0.1:9//"]))
        way = self._dice.randrange(8)
        if way < 2:
            environ[pick(URLS)] = self._url(secret)
        elif way == 2:
            environ["BRIDGE_BROKER_TRANSPORT_OPTIONS"] = self._json(secret)
        elif way == 3:
            environ["BRIDGE_" + pick(SECRETS)] = pick([secret, f"kinit -w {secret}", self._url(secret)])
            environ |= {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_PARTITIONS": pick(["1", "x"])}
        elif way == 4:
            environ[pick(OTHERS)] = pick([self._url(secret), self._json(secret)])
        elif way == 5:
            environ |= self._file(secret)
        elif way == 6:
            arguments += [pick(["--broker-url", "--redis-url", "--queue-ttl", "--sink", "--typo", "--sqlite-path"])]
            arguments += [self._url(secret)]
        elif arguments[0] in ("tail", "audit", "replay"):
            arguments += [pick(["--from", "--since", "--format", "--from"]), self._url(secret)]
        else:
            arguments += [self._url(secret)]
        return Case(secret, {name: text for name, text in environ.items() if "\0" not in text}, arguments)

    def _word(self) -> str:
        return "Zq" + "".join(self._dice.choices(string.ascii_letters, k=8))

    def _url(self, secret: str) -> str:
        pick = self._dice.choice
        scheme = pick(["amqp", "amqps", "redis", "rediss", "kafka", "sqlite", "http", "AMQP"])
        between = pick(["://", "://", "://", ":/", "//", ":///", ":// "])
        user, at = pick(["u", "", "us%20er", "guest"]), pick(["@", "@", "@", "%40", "", "@@"])
        if at in ("", "%40"):
            secret = secret.replace("@", "")  # else the last @ is where the host begins, as far as anybody can tell
        host = pick(["127.0.0.1:9", "h", "h:9", "h:x", "[::1", "[::1]:9", "h\u2100", ""])
        path = pick(["/0", "//", "", "/v?heartbeat=1", "/a/b#f", f"?login_response={secret}", f"?password={secret}"])
        if self._dice.random() < 0.15:
            return f"{scheme}://{host}/0?{pick(['login_response', 'password', 'x', 'auth'])}={secret}"
        url = f"{scheme}{between}{user}:{secret}{at}{host}{path}"
        return pick([url, url, url, f"amqp://127.0.0.1:9//;{url}", f"{url};amqp://127.0.0.1:9//"])

    def _json(self, secret: str) -> str:
        pick = self._dice.choice
        name = pick(["login_response", "password", "client_secret", "x"])
        text = pick(
            ['{{"{0}": "{1}"}}', '{{"a": {{"{0}": "{1}"}}}}', "{{'{0}': '{1}'}}", '{{"{0}": ["{1}"]}}', '["{1}"]']
        )
        text = text.format(name, secret)
        return text if self._dice.random() < 0.5 else text[: self._dice.randrange(len(text)) + 1]

    def _file(self, secret: str) -> dict[str, str]:
        pick = self._dice.choice
        name = pick([*URLS[::2], "BRIDGE_KAFKA_SASL_PASSWORD", "BRIDGE_BROKER_TRANSPORT_OPTIONS"])
        content = secret if "PASSWORD" in name else self._json(secret) if "OPTIONS" in name else self._url(secret)
        if self._dice.random() < 0.3:
            return {f"{name}_FILE": content, "BRIDGE_SINK": "kafka,redis"}  # the secret itself for the path
        file = self._folder / "secret"
        file.write_bytes(pick([content.encode(), content.encode() + b"\n\n", content.encode() + b"\xff"]))
        return {f"{name}_FILE": str(file), "BRIDGE_SINK": "kafka,redis"}


def told(case: Case, text: str) -> list[str]:
    """The fragments of the secret that are in a text."""
    words = re.findall(r"Zq[a-zA-Z]{8}", case.secret)
    return [word for word in words if any(word[n : n + FRAGMENT] in text for n in range(len(word) - FRAGMENT + 1))]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Case], tuple[int, str]]:
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
    for module in (tail, audit, ends, replay):
        monkeypatch.setattr(module, "PATIENCE", 0.0, raising=False)
    monkeypatch.setattr(ends, "SINKS_PATIENCE", 0.0)
    monkeypatch.setattr(Relay, "run", lambda _: 0)
    for kind in (KafkaSink, KafkaReader):
        monkeypatch.setattr(kind, "open", away)
    monkeypatch.setattr(KafkaSink, "available", away)

    def call(case: Case) -> tuple[int, str]:
        with monkeypatch.context() as patched:
            for name, text in case.environ.items():
                patched.setenv(name, text)
            with CliRunner().isolation() as (out, err, _):
                code = cli._main(case.arguments)
                return code, out.getvalue().decode() + err.getvalue().decode()

    return call


def cases(count: int, folder: Path) -> Iterator[Case]:
    for seed in range(count):
        yield Grammar(seed, folder).case()


@pytest.mark.timeout(900)
def test_no_secret_gets_out(invoke: Callable[[Case], tuple[int, str]], tmp_path: Path) -> None:
    """Of settings that are wrong in every way, in no command's output, which is no traceback either."""
    leaks = []
    for number, case in enumerate(cases(COUNT, tmp_path)):
        code, text = invoke(case)
        assert code in (0, 1, 2, 3), (number, case, text)
        assert "Traceback" not in text, (number, case, text)
        if found := told(case, text):
            leaks.append((number, found, case, text))
    assert not leaks, f"{len(leaks)} of {COUNT}: {leaks[:3]}"


def test_a_secret_that_is_told_is_found(invoke: Callable[[Case], tuple[int, str]]) -> None:
    """The same look finds one in a setting that is no secret: a queue's name in the listing of `check`."""
    case = Case("ZqabcdefghZqijklmnop", {"BRIDGE_QUEUE": "ZqabcdefghZqijklmnop", "BRIDGE_HTTP": "off"}, ["check"])
    assert ["Zqabcdefgh", "Zqijklmnop"] == told(case, invoke(case)[1])


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
