"""Secrets of settings: none is in an error, a listing or a text, whatever it is made of."""

from __future__ import annotations

import re
import traceback

import pytest
from hypothesis import assume, given, strategies as st

from celery_event_bridge.config import validation
from celery_event_bridge.config.loading import SettingsError, load
from celery_event_bridge.contract.secrets import hide_in_url, hide_in_value, hide_of, hide_secrets, is_secret
from tests.support.settings import error, listing


@pytest.mark.parametrize(
    "password", ["sesame", "ses:ame", "ses@ame", "ses/ame", "ses;ame", "1;s@e:s/ame", "ses#ame?x", "%40sesame"]
)
@pytest.mark.parametrize("scheme", ["amqp", "ftp"])
def test_no_password_gets_into_an_error_or_a_listing(scheme: str, password: str) -> None:
    """Not even one that should have been encoded."""
    url = f"{scheme}://user:{password}@h:99999/"
    assert "ame" not in error(BRIDGE_BROKER_URL=url).partition(": ")[0].replace("sesame-free", "")
    assert password not in error(BRIDGE_BROKER_URL=url)


def test_a_url_without_its_scheme_shows_no_password() -> None:
    """Nor does what only looks like one."""
    assert "sesame" not in error(BRIDGE_BROKER_URL="guest:sesame@127.0.0.1")


def test_an_error_that_repeats_the_url_shows_no_password() -> None:
    """As Python's does of a host with a character that could pass for another."""
    found = error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL="redis://u:sesame@h\u2100/0")
    assert (True, False) == ("BRIDGE_REDIS_URL=redis://u:**@h" in found, "sesame" in found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("redis:/u:p@h/0", "**@h/0"),
        ("u:p@q:r@h:1", "**@h:1"),
        ("redis:// u:p@h", "**@h"),
        ("redis:///u:p@h/0", "redis:///u:**@h/0"),
        ("amqp://h;amqp:/u:p;q@h2;amqp://v:p@h3", "amqp://h;**@h2;amqp://v:**@h3"),
        ("amqp:/u:p@h;amqp://v:p@h2", "**@h;amqp://v:**@h2"),
        ("amqp://u:p;q@h", "amqp://u:**@h"),
        ("redis://h/0?stream=a@b", "redis://h/0?stream=a@b"),
        ("redis://h/0", "redis://h/0"),
        ("nonsense", "nonsense"),
    ],
)
def test_what_should_have_been_a_url_shows_no_password(given: str, shown: str) -> None:
    """Where its slashes are mistyped all before the last @ is hidden, in each of several."""
    assert shown == hide_in_url(given)


@pytest.mark.parametrize("password", ["p@ss", "p/w", "p@s/s", "p#w", "p?w@x"])
def test_a_password_that_is_not_encoded_is_said_so(password: str) -> None:
    """It would be taken for another part of the URL, and the host would not be found."""
    assert "%-encoded" in error(BRIDGE_BROKER_URL=f"amqp://guest:{password}@127.0.0.1:5672//")


def test_secrets_are_hidden_wherever_they_stand() -> None:
    """In a text, in several URLs, and by the name of what holds them."""
    assert "amqp://u:**@a;amqp://u:**@b x" == hide_secrets("amqp://u:p@a;amqp://u:p:@q@b x")
    assert "redis://:**@h/0" == hide_secrets("redis://:p@h/0")
    assert "no url: a@b" == hide_secrets("no url: a@b")
    assert "amqp://u:**@h:1//" == hide_secrets("amqp://u:my p@ss word@h:1//")
    assert "redis://:**@h:1/0 is away" == hide_secrets("redis://:two words@h:1/0 is away")
    assert "amqp://h:5672// is away, see a@b" == hide_secrets("amqp://h:5672// is away, see a@b")
    for name in ("BRIDGE_KAFKA_SASL_PASSWORD", "BRIDGE_X_TOKEN", "BRIDGE_X_CLIENT_SECRET", "BRIDGE_X_API_KEY"):
        assert is_secret(name)
    assert not is_secret("BRIDGE_BROKER_TLS_KEY")


def test_the_listing_hides_secrets() -> None:
    """In URLs, in a URL's query, and in the transport's options."""
    shown = "\n".join(
        listing(
            BRIDGE_BROKER_URL="amqp://u:sesame@a//;amqp://v:ses%40ame@b//",
            BRIDGE_BROKER_TRANSPORT_OPTIONS='{"login": {"password": "ses\'ame"}, "api_token": "sesame", "x": 1}',
            BRIDGE_SINK="redis",
            BRIDGE_REDIS_URL="redis://h/0?password=sesame&socket_keepalive=yes",
        )
    )
    assert [] == [password for password in ("sesame", "ses%40ame", "ses'ame") if password in shown]
    assert "BRIDGE_BROKER_URL=amqp://u:**@a//;amqp://v:**@b//" in shown
    assert "BRIDGE_REDIS_URL=redis://h/0?password=**&socket_keepalive=yes" in shown
    assert "'x': 1" in shown


@pytest.mark.parametrize("text", ['{"password": "sesame"', "{'password': 'sesame'}", '{"a": {"my_secret": "sesame"]'])
def test_broken_json_shows_no_secret(text: str) -> None:
    """It is what a person mistyped, quotes and all."""
    assert "sesame" not in error(BRIDGE_BROKER_TRANSPORT_OPTIONS=text)


def test_no_traceback_of_an_error_has_a_secret() -> None:
    """The library's own error, which prints values, is neither its cause nor its context."""
    with pytest.raises(SettingsError) as failure:
        load({"BRIDGE_BROKER_URL": "amqp://u:sesame@h:99999//", "BRIDGE_PREFETCH": "x"})
    assert failure.value.__cause__ is failure.value.__context__ is None
    assert "sesame" not in "".join(traceback.format_exception_only(failure.value))


@pytest.mark.parametrize(
    "text",
    [
        "amqp://u:{}@h//",
        "amqp://u:{}@h//;amqp://v:{}@k//",
        "lost amqp://u:{}@h:5672//: try again",
        "redis://:{}@h/0",
        "redis://h/0?db=1&password={}&x=y",
        '{{"password": "{}"}}',
        "{{'PassWord' : '{}'}}",
    ],
)
@given(st.text("abcXYZ019:/@;!$%#?=+-_.~^()[]{}", min_size=8, max_size=20))
def test_whatever_a_password_is_made_of_it_is_hidden(text: str, password: str) -> None:
    """In every place where one may stand, and what surrounds it stays."""
    if "?" in text:
        password = password.replace("&", "").replace("#", "")
    assume(not re.search(r";[a-zA-Z][\w+.-]*://", password))  # that is where the next URL begins
    count = text.count("{}")
    assert text.format(*["**"] * count) == hide_secrets(text.format(*[password] * count))


def test_a_secret_shows_nothing_of_itself() -> None:
    """Not even what stands after an @, as it does in a URL."""
    assert "**" == validation.harmless("BRIDGE_X_PASSWORD", "open@sesame")


@pytest.mark.parametrize(
    "path",
    [
        "/home/passwd-team/events.db",
        "./secret/events.db",
        "../tokens/e",
        "~/credentials/e",
        "~passwd/e",
        "/run/secrets/kafka-password",
        "/srv/Größe/token/events.db",
        "secrets/events.db",
        "passwords.sqlite3",
        "token.pem",
    ],
)
def test_a_path_is_no_secret_by_its_name(path: str) -> None:
    """Who is told that a file cannot be opened has to see which one."""
    assert path == hide_in_value(path)
    for url in (path, f"sqlite:///{path}"):
        said = f"SQLite file {path}: No such file or directory"
        assert said == hide_secrets(hide_of(said, url, "BRIDGE_SQLITE_PATH"))
    (listed,) = (line for line in listing(BRIDGE_SQLITE_PATH=path) if line.startswith("BRIDGE_SQLITE_PATH="))
    assert listed.endswith(path.lstrip("./~"))


@pytest.mark.parametrize(
    "text",
    [
        "/home?password=sesame",
        "/usr/bin/kinit --password sesame",
        "/usr/bin/kinit --password=sesame",
        "//user:sesame@h/events.db",
        "/home/u:sesame@h/token.db",
        "password:sesame/events.db",
        "u:sesame@h/secret.db",
        "password/sesame",
        "password.sesame",
        "Password-sesame",
        "sqlite:///u:sesame@h/secret.db",
        "redis://h/0?secret=sesame.db",
        "/events.db\npassword/sesame",
    ],
)
def test_what_only_looks_like_a_path_shows_no_secret(text: str) -> None:
    """A name is given to a value, or there is a user in it, or nothing says that it is a path."""
    assert "sesame" not in hide_in_value(text)
    assert "sesame" not in hide_of(f"cannot open {text}", text, "BRIDGE_SQLITE_PATH")


def test_options_that_are_folders_are_shown_and_no_others() -> None:
    """Who is told that a folder is missing has to see which one; a login in the options stays hidden."""
    folders = '{"data_folder_in": "/srv/celery/messages", "polling_interval": 0.5}'
    assert folders == hide_in_value(folders)
    for text in (
        '{"data_folder_in": "/srv/celery", "password": "/sesame"}',
        '{"data_folder_in": "/srv/celery", "user": "sesame"}',
        '{"data_folder_in": "/srv/celery", "more": {"a": "/sesame"}}',
        '{"login": "/u:sesame@h"}',
    ):
        assert "sesame" not in hide_in_value(text)


def test_a_path_in_the_place_of_a_secret_is_one() -> None:
    """By the name of its setting."""
    assert "sesame" not in hide_of("cannot use /sesame/events.db", "/sesame/events.db", "BRIDGE_KAFKA_SASL_PASSWORD")
