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
from celery_event_bridge.cli import audit, ends, replay, tail
from celery_event_bridge.config.loading import Loaded, load
from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_in_url, hide_secrets
from celery_event_bridge.forward.relay import Relay
from celery_event_sinks.kafka.reader import KafkaReader
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from celery_event_sinks.redis import client as redis_client
from celery_event_sinks.redis.client import RedisClient
from celery_event_sinks.redis.settings import RedisSettings
from tests.support.stores import FULL

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
UNKNOWN = ["BRIDGE_KAFKA_SASL_PASWORD", "BRIDGE_KAFKA_SASL_USER", "BRIDGE_REDIS_PASSWORD", "BRIDGE_BROKER_URI"]
UNKNOWN += ["BRIDGE_KAFKA_X", "BRIDGE_SQLITE_KEY", "BRIDGE_PASSWORT", "BRIDGE_STDOUT_X", "BRIDGE_REDIS_ULR"]
NAMES = [
    "BRIDGE_QUEUE",
    "BRIDGE_EVENT_EXCHANGE",
    "BRIDGE_KAFKA_TOPIC",
    "BRIDGE_REDIS_STREAM",
    "--queue",
    "--redis-stream",
]
NAMES += ["--event-exchange", "--kafka-topic"]
CHANGING = ["BRIDGE_BROKER_URL", "BRIDGE_REDIS_URL", "BRIDGE_MANAGEMENT_URL", "BRIDGE_KAFKA_SASL_PASSWORD"]
CHANGING += ["BRIDGE_KAFKA_BOOTSTRAP_SERVERS"]
LINE = re.compile(r"celery-event-bridge[ \w-]*: |\{.*\}$")
"""Beginning of each line of errors: what is told is told in one."""
COMMANDS = [["check", "--settings"], ["run"], ["tail"], ["audit"], ["replay", "--to"], ["queues", "show"]]
COMMANDS += [["settings"], ["rejected", "list"], ["queues", "declare"], ["queues", "remove"]]


class Case(NamedTuple):
    """A secret, and how it was given."""

    secret: str
    environ: dict[str, str]
    arguments: list[str]
    later: bytes | None = None
    """What the file of a variable holds once the command has read it."""

    def change(self) -> None:
        """Replace the file, as somebody does while a bridge runs."""
        for name, path in self.environ.items():
            if name.endswith("_FILE"):
                Path(path).write_bytes(self.later or b"")


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
        way = self._dice.randrange(13)
        later = None
        if way > 7:
            later = self._more(way, secret, environ, arguments)
        elif way < 2:
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
        return Case(secret, {name: text for name, text in environ.items() if "\0" not in text}, arguments, later)

    def _more(self, way: int, secret: str, environ: dict[str, str], arguments: list[str]) -> bytes | None:
        pick = self._dice.choice
        if way == 8:
            variable = pick(CHANGING)
            good = {"BRIDGE_KAFKA_SASL_PASSWORD": "a", "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": "h:1"}.get(variable, "")
            good = good or {"B": "amqp", "R": "redis", "M": "http"}[variable[7]] + "://u:old@127.0.0.1:9"
            file = self._folder / "changing"
            file.write_text(good + pick(["", "\n"]))
            environ |= {f"{variable}_FILE": str(file), "BRIDGE_SINK": "redis,kafka", "BRIDGE_LOG_LEVEL": "info"}
            environ["BRIDGE_LOG_FORMAT"] = "json"
            arguments[:] = ["run"]
            # A password for Kafka is one whatever it is made of, as long as it is a line.
            text = pick([self._url(secret), self._url(secret), secret, self._json(secret), f"u:{secret}@h:1", ""])
            return pick([text.encode(), text.encode() + b"\n", text.encode() + b"\n\n", text.encode() + b"\xff"])
        if way == 9 and self._dice.random() < 0.3:
            arguments += ["--" + pick(UNKNOWN).removeprefix("BRIDGE_").lower().replace("_", "-"), secret]
        elif way == 9:
            environ |= {pick(UNKNOWN): pick([secret, self._url(secret), self._json(secret)])}
        elif way == 10:
            at = pick(["@", "@", "@@", ""])
            address = f"u:{secret.replace('@', '') if not at else secret}{at}127.0.0.1:1"
            address = pick(["", "h:9092,", "SASL_SSL://", "kafka://"]) + address + pick(["", ",h:9092", "/topic"])
            if pick([True, False]):
                environ |= {"BRIDGE_KAFKA_BOOTSTRAP_SERVERS": address, "BRIDGE_SINK": "kafka"}
            else:
                arguments += ["--sink", "kafka", "--kafka-bootstrap-servers", address]
        elif way == 11:
            self._name(self._url(secret), environ, arguments)
        else:
            scheme = pick(["redis", "rediss"])
            environ["BRIDGE_SINK"] = "redis"
            environ |= pick(
                [
                    {"BRIDGE_REDIS_URL": f"{scheme}://127.0.0.1:9/{secret.replace('@', '')}"},
                    {"BRIDGE_BROKER_TRANSPORT_OPTIONS": f'{{"login_method": "{secret}"}}'},
                    {"BRIDGE_BROKER_TRANSPORT_OPTIONS": f'{{"read_timeout": "{secret}"}}'},
                    {"BRIDGE_BROKER_URL": f"amqp://127.0.0.1:9//?login_method={secret}"},
                    {"BRIDGE_BROKER_URL": f"amqp://127.0.0.1:9//?{pick(['password', 'userid'])}={secret}"},
                    {"BRIDGE_BROKER_URL": f"amqp://u:9#{secret}@h//"},
                    {"BRIDGE_REDIS_URL": f"redis://u:9?{secret}@h/0"},
                ]
            )
        return None

    def _name(self, url: str, environ: dict[str, str], arguments: list[str]) -> None:
        """A URL in the place of a name."""
        pick = self._dice.choice
        name = pick([*NAMES, "migrate", "group", "stream"])
        if name == "migrate":
            arguments[:] = ["queues", "migrate", "--from", url]
        elif name == "group":
            arguments[:] = ["replay", "--to", "amqp://127.0.0.1:9//", "--group", url]
        elif name == "stream":
            arguments[:] = ["tail", "--from", f"redis://127.0.0.1:9/0?stream={url}"]
        elif name.startswith("--"):
            environ["BRIDGE_SINK"] = "redis,kafka"
            arguments += [name, url]
        else:
            environ |= {name: url, "BRIDGE_SINK": "redis,kafka"}

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
    for module in (tail, audit, ends, replay):
        monkeypatch.setattr(module, "PATIENCE", 0.0, raising=False)
    monkeypatch.setattr(ends, "SINKS_PATIENCE", 0.0)
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
                code = cli._main(case.arguments)
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
