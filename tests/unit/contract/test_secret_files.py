"""Secrets' files that change while a bridge or a reader runs: what is read again is judged as at the start."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import AccessRefused
from kombu.transport.pyamqp import Transport
from redis.exceptions import AuthenticationError

from celery_event_bridge.brokers.rabbitmq.connection import connect
from celery_event_bridge.brokers.rabbitmq.management import Management
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.config.loading import Loaded, SettingsError, load
from celery_event_bridge.contract import notices, secret_files
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.reading.streams import find
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.redis.client import RedisClient

PIECES = ("Sommer", "2030", "xyz")
"""Of each password in a file that is wrong."""
ENDS = ("/xyz", "\txyz", "#xyz", "?xyz", "@xyz", "[xyz", "\nxyz", "/xyz#", "?a=b/xyz")
"""Ends of a password that are not encoded."""
AMQP = [f"amqp://bridge:Sommer2030{end}@127.0.0.1:5672//" for end in ENDS]
AMQP += ["amqp://bridge:xyz@127.0.0.1:port//", "amqp://bridge:xyz@127.0.0.1:99999//", "Sommer2030xyz"]
AMQP += ["bridge:Sommer2030xyz@127.0.0.1", "mqtt://bridge:Sommer2030xyz@127.0.0.1", "kafka://h/topic"]
AMQP += ["amqp://h//;amqp://bridge:Sommer2030/xyz@h//", "amqp://bridge:Sommer2030/xyz@h//;amqp://h//"]
AMQP += ["http://bridge:Sommer2030xyz@127.0.0.1", "amqp:/bridge:Sommer2030xyz@h", "amqp://h//?password=Sommer2030xyz"]
AMQP += ["amqp://h//?heartbeat=5", "amqp://h//?login_method=Sommer2030xyz"]
REDIS = [f"redis://bridge:Sommer2030{end}@127.0.0.1:6379/0" for end in ENDS if end != "@xyz"]
REDIS += ["redis://h/Sommer2030xyz", "Sommer2030xyz", "amqp://bridge:Sommer2030xyz@h", "redis://h:Sommer2030/xyz"]
REDIS += ["redis://bridge:2030#xyz@h", "redis://bridge:2030?xyz@h", "redis://[Sommer", "redis://h?socket_timeout=abc"]
API = [f"http://bridge:Sommer2030{end}@127.0.0.1:15672" for end in ENDS if end != "@xyz"]
API += ["amqp://bridge:Sommer2030xyz@h", "Sommer2030xyz", "http://bridge:2030?xyz@h"]
PASSWORDS = ["Sommer2030\nxyz", "Sommer2030xyz\n\n", "Sommer2030\rxyz"]
CASES = [
    *(("BRIDGE_BROKER_URL", "amqp://u:old@127.0.0.1:1//", "amqp://u:new@127.0.0.1:1//", wrong) for wrong in AMQP),
    *(("BRIDGE_REDIS_URL", "redis://u:old@127.0.0.1:1/0", "redis://u:new@127.0.0.1:1/0", wrong) for wrong in REDIS),
    *(("BRIDGE_MANAGEMENT_URL", "http://u:old@127.0.0.1:1", "http://u:new@127.0.0.1:1", wrong) for wrong in API),
    *(("BRIDGE_KAFKA_SASL_PASSWORD", "old", "new", wrong) for wrong in PASSWORDS),
]


def rabbitmq(chosen: Loaded) -> Settings:
    _, made = chosen.broker
    assert isinstance(made, Settings)
    return made


def loaded(**variables: str) -> Loaded:
    return load({"BRIDGE_SINK": "redis,kafka", **variables})


def start(**variables: str) -> str:
    """What is said where the settings are wrong from the beginning."""
    with pytest.raises(SettingsError) as failure:
        loaded(**variables)
    return str(failure.value)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The notices on secrets' files, and no traceback with them."""
    assert not any(record.exc_info for record in caplog.records)
    return [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "secret-file"]


@pytest.mark.parametrize(("variable", "old", "new", "wrong"), CASES)
def test_what_a_file_holds_now_is_judged_as_at_the_start(
    variable: str, old: str, new: str, wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never in use unless it is valid: the line says why in the words of the start, once, and shows no piece."""
    caplog.set_level("INFO")
    file = tmp_path / "secret"
    file.write_text(f"{old}\n")
    loaded(**{f"{variable}_FILE": str(file)})
    file.write_text(wrong)
    for _ in range(3):
        assert old == secret_files.fresh(old, variable)
    (line,) = said(caplog)
    kind = "URL" if variable.endswith("URL") else "value"
    assert line.startswith(f"{variable}_FILE={file} holds no valid {kind}: ")
    assert line.endswith("; the old one stays in use")
    why = line.removesuffix("; the old one stays in use").partition(f" holds no valid {kind}: ")[2]
    assert why in start(**{variable: wrong})
    assert why in start(**{f"{variable}_FILE": str(file)})
    assert why in secret_files.named(old, variable)
    for text in (line, start(**{variable: wrong}), start(**{f"{variable}_FILE": str(file)})):
        assert not [piece for piece in PIECES if piece in text.replace(str(file), "")], text
        assert "\n" not in text
    file.write_text(new)
    assert new == secret_files.fresh(old, variable)
    assert said(caplog)[1:] == [f"{variable}_FILE={file} can be read again"]
    assert f"{variable}_FILE" == secret_files.named(new, variable)


def missing(file: Path) -> None:
    file.unlink()


def piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def emptied(file: Path) -> None:
    file.write_text(" \n")


def garbled(file: Path) -> None:
    file.write_bytes(b"amqp://u:\xff@h")


A_PIPE = (
    "cannot be read again: it is a pipe, which gives its content once; the old one stays in use: put a file in its "
)
A_PIPE += "place, or restart once a new one is set"
TROUBLES = [
    (missing, f"cannot be read again: {os.strerror(errno.ENOENT)}; the old one stays in use until it can be"),
    (piped, A_PIPE),
    (emptied, "holds nothing; the old one stays in use"),
    (garbled, "holds no UTF-8 text; the old one stays in use"),
]


@pytest.mark.parametrize(("trouble", "line"), TROUBLES)
def test_what_is_said_of_a_file_is_true(
    trouble: Callable[[Path], None], line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is read again, and so no restart is asked for; each new reason is told, and the same one once."""
    caplog.set_level("INFO")
    file, old, new = tmp_path / "url", "amqp://u:old@h//", "amqp://u:new@h//"
    file.write_text(old)
    loaded(BRIDGE_BROKER_URL_FILE=str(file))
    trouble(file)
    for _ in range(2):
        assert old == secret_files.fresh(old)
    file.unlink(missing_ok=True)
    file.write_text("redis://h")
    assert old == secret_files.fresh(old)
    file.write_text(new)
    assert new == secret_files.fresh(old)
    first, second, over = said(caplog)
    assert first == f"BRIDGE_BROKER_URL_FILE={file} {line}"
    assert "holds no valid URL" in second
    assert "can be read again" in over
    assert notices.NOTICES.counts()["secret-file"] == 3


def refused(*_: Any, **__: Any) -> Any:
    raise AccessRefused("ACCESS_REFUSED - Login was refused", (10, 11))


def test_a_refused_login_names_the_variable_that_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file's one, with what is wrong with it, or Celery's own."""
    monkeypatch.setattr(Transport, "establish_connection", refused)
    file = tmp_path / "url"
    file.write_text("amqp://u:old@127.0.0.1:1//")

    def reason(settings: Settings) -> str:
        with pytest.raises(BrokerUnavailable) as failure:
            connect(settings, settings.broker_urls[0], role="test")
        return str(failure.value)

    of_file = rabbitmq(loaded(BRIDGE_BROKER_URL_FILE=str(file)))
    assert reason(of_file).endswith("check user and password in BRIDGE_BROKER_URL_FILE")
    file.write_text(AMQP[0])
    assert "check user and password in BRIDGE_BROKER_URL_FILE (which holds no valid URL: the port" in reason(of_file)
    assert "Sommer" not in reason(of_file)
    assert reason(rabbitmq(loaded(CELERY_BROKER_URL="amqp://u:own@h//"))).endswith("password in CELERY_BROKER_URL")
    assert reason(rabbitmq(loaded(BRIDGE_BROKER_URL="amqp://u:own@h//"))).endswith("password in BRIDGE_BROKER_URL")


def test_a_refused_login_at_redis_names_the_variable_that_is_set(tmp_path: Path) -> None:
    """Also where a reader's URL has user and password from the settings."""
    file = tmp_path / "url"
    file.write_text("redis://u:old@127.0.0.1:1/0")
    environ = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL_FILE": str(file)}
    for url in (None, "redis://127.0.0.1:1/0?stream=x"):
        client = RedisClient(find(url, environ)[1].model_dump()["url"])
        wrong = client.explain(AuthenticationError("WRONGPASS invalid"))
        assert wrong.endswith("check user and password in BRIDGE_REDIS_URL_FILE")
        assert client.explain(ConnectionRefusedError("refused")).endswith("and BRIDGE_REDIS_URL_FILE right?")
    typed = RedisClient("redis://u:typed@127.0.0.1:1/0")
    assert typed.explain(AuthenticationError("WRONGPASS invalid")).endswith("password in BRIDGE_REDIS_URL")


def test_a_password_for_kafka_that_is_wrong_is_not_in_use(tmp_path: Path) -> None:
    """What a new client would be made with stays what it was, and so no new one is made."""
    file = tmp_path / "password"
    file.write_text("old")
    settings = loaded(BRIDGE_KAFKA_SASL_PASSWORD_FILE=str(file)).sinks["kafka"][1]
    assert isinstance(settings, KafkaSettings)
    before = settings.credentials()
    file.write_text("Sommer\n2030")
    assert (before, settings) == (settings.credentials(), settings.fresh())
    file.write_text("new")
    assert settings.fresh().model_extra == {"sasl_password": "new"}


@pytest.mark.parametrize(
    "url", [AMQP[0], "amqp://u:p@h:Sommer2030//", "amqp://[Sommer2030", "amqp://u:p@Sommer2030..h//"]
)
def test_no_librarys_error_about_a_url_is_shown(url: str) -> None:
    """Wherever it came from: a library repeats the part of it that it cannot read."""
    with pytest.raises(BrokerUnavailable) as failure:
        connect(Settings.model_construct(broker_url=url, broker_transport_options={}), url, role="test")
    assert "ValueError" not in str(failure.value)
    assert "UnicodeError" not in str(failure.value)
    assert "Sommer2030'" not in str(failure.value)


def test_no_error_about_the_management_apis_url_is_shown() -> None:
    """Neither of its parts nor of a host that has no name; and the variable that is set is named."""
    for url in ("http://127.0.0.1:1/Sommer2030 xyz", "http://Sommer2030..h:1"):
        settings = rabbitmq(load({"BRIDGE_MANAGEMENT_URL": url}))
        with pytest.raises(BrokerUnavailable) as failure:
            Management(settings).queue("q")
        assert str(failure.value).endswith(": the URL, or what it answers, cannot be read")


def test_an_option_of_the_client_is_told_in_a_sentence() -> None:
    """One that it does not know, of a wrong type, or with a wrong value, which is not shown."""

    def reason(options: str, query: str = "") -> str:
        url = f"amqp://127.0.0.1:1//{query}"
        settings = rabbitmq(load({"BRIDGE_BROKER_TRANSPORT_OPTIONS": options, "BRIDGE_BROKER_URL": url}))
        with pytest.raises(BrokerUnavailable) as failure:
            connect(settings, url, role="test")
        return str(failure.value)

    assert "there is no option typo: check what follows the ? in BRIDGE_BROKER_URL, and" in reason("{}", "?typo=1")
    for options in ('{"socket_settings": "Sommer2030"}', '{"client_properties": 2030}'):
        assert "an option is of a wrong type: check what follows the ?" in reason(options)
        assert "2030" not in reason(options)


def test_a_login_method_that_there_is_not_is_refused_at_the_start() -> None:
    """Without its value, in the URL and in the options."""
    wanted = "a login_method is one of AMQPLAIN, PLAIN, EXTERNAL, GSSAPI, ANONYMOUS"
    line = start(BRIDGE_BROKER_TRANSPORT_OPTIONS='{"login_method": "Sommer2030"}')
    assert line == f"BRIDGE_BROKER_TRANSPORT_OPTIONS=**: {wanted}"
    line = start(BRIDGE_BROKER_URL="amqp://h//?login_method=Sommer2030")
    assert line == f"BRIDGE_BROKER_URL=amqp://h//?login_method=**: {wanted}"


def test_parts_of_a_url_stand_before_its_query() -> None:
    """The client would take them a second time, and say so in its own words."""
    for name in ("password", "userid", "hostname", "port", "virtual_host", "transport"):
        line = start(BRIDGE_BROKER_URL=f"amqp://h//?{name}=Sommer2030")
        assert line.startswith(f"BRIDGE_BROKER_URL=amqp://h//?{name}=**: user, password, host, port and vhost stand")


URLS = [
    "amqp://u:Sommer2030@h",
    "redis://h/Sommer2030",
    "u:Sommer2030@h",
    "amqp:/u:Sommer2030@h",
    "//u:Sommer2030@h",
    '{"password": "Sommer2030"}',
]
URLS += ['["Sommer2030@h"']


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("variable", ["QUEUE", "EVENT_EXCHANGE", "REDIS_STREAM", "KAFKA_TOPIC"])
def test_a_name_that_looks_like_a_url_is_refused(variable: str, url: str) -> None:
    """Names are shown in every line, and so would be the password in it."""
    assert "Sommer" not in start(**{f"BRIDGE_{variable}": url})


@pytest.mark.parametrize("name", ["celery@worker", "a:b", "a/b", "a.b:{0}", "x=1&y#2?"])
def test_a_name_may_have_what_names_have(name: str) -> None:
    """A colon, an at, a slash, each on its own."""
    assert name == rabbitmq(loaded(BRIDGE_QUEUE=name)).queue


def test_a_database_that_is_no_number_is_not_shown() -> None:
    """It may be a password in the wrong place."""
    assert start(BRIDGE_REDIS_URL="redis://host/Sommer2030").startswith("BRIDGE_REDIS_URL=redis://host/**: after the")


def test_the_sink_in_a_file_is_read_as_any_other_setting(tmp_path: Path) -> None:
    """By readers too: one that is no text is refused in a sentence."""
    file = tmp_path / "sink"
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="the file is not UTF-8 text"):
        find(None, {"BRIDGE_SINK_FILE": str(file)})
