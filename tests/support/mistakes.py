"""A grammar of mistakes: settings and arguments with secrets in them, as people mistype them."""

from __future__ import annotations

import string
from pathlib import Path
from random import Random
from typing import NamedTuple

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
