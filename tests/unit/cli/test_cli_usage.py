"""Wrong usage: said in a line, with exit code 2, and without the password that was mistyped."""

from __future__ import annotations

import pytest

from tests.support.commands import invoke


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["run", "--quue", "x"], "--queue"),
        (["run", "--sqlite-path"], "requires an argument"),
        (["run", "--redis-password", "x"], "set BRIDGE_REDIS_PASSWORD or BRIDGE_REDIS_PASSWORD_FILE"),
        (["run", "stray"], "unexpected argument 'stray'"),
        (["rnu"], "No such command"),
        (["run", "--sqlite-paht", "x"], "did you mean BRIDGE_SQLITE_PATH?"),
        (["run", "--prefetch", "x"], "BRIDGE_PREFETCH=x: expected a whole number"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], wanted: str) -> None:
    """One line says what is wrong."""
    code, text = invoke(*arguments)
    assert (2, 1) == (code, len(text.splitlines()))
    assert wanted in text
    assert text.startswith("celery-event-bridge")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--redis-password", "BRIDGE_REDIS_PASSWORD"),
        ("--sqlite-secret", "BRIDGE_SQLITE_SECRET"),
        ("--token", "BRIDGE_TOKEN"),
    ],
)
@pytest.mark.parametrize("form", ["{} sesame", "{}=sesame"])
def test_secrets_are_no_options(option: str, name: str, form: str) -> None:
    """Everybody on the machine could read them; the line says where they go, and not what was given."""
    code, text = invoke("run", "--prefetch", "0", *form.format(option).split(" "))
    assert (2, True) == (code, f"{option}: secrets are no options; set {name} or {name}_FILE" in text)
    assert "sesame" not in text


@pytest.mark.parametrize(
    "url", ["amqp://u:sesame@h//", "amqp:/u:sesame@h//", "u:sesame@h:5672", "amqp:/u:two sesame@h"]
)
@pytest.mark.parametrize("arguments", [[], ["check"], ["run", "--broker"], ["tail", "--since"]])
def test_a_url_in_the_wrong_place_is_not_repeated_with_its_password(arguments: list[str], url: str) -> None:
    """Output of a container is kept, and read by others."""
    code, text = invoke(*arguments, url)
    assert (2, False) == (code, "sesame" in text)


MISTYPED = [
    "redis:/u:sesame@h/0",
    "redis:u:sesame@h/0",
    "u:sesame@h:6379",
    "redis:/:ses/sesame@h/0",
    "redis//u:sesame@h",
]


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(
    "arguments",
    [["tail", "--from"], ["audit", "--from"], ["replay", "--to", "sqlite:///x.db", "--from"], ["replay", "--to"]],
)
def test_a_stream_whose_slashes_are_mistyped_is_named_without_its_password(arguments: list[str], url: str) -> None:
    """What is before the last @ is hidden, and the line says what a URL looks like."""
    code, text = invoke(*arguments, url)
    assert (2, False) == (code, "sesame" in text)
    assert f"**@{url.rpartition('@')[2]}: expected kafka://host:9092/topic" in text


@pytest.mark.parametrize("command", [["audit"], ["replay", "--to", "amqp://h//"]])
@pytest.mark.parametrize(
    ("since", "until"), [("1h", "2h"), ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00Z"), ("2030-01-31T12:00:00Z", "1h")]
)
def test_a_period_that_ends_before_it_begins_is_wrong_usage(command: list[str], since: str, until: str) -> None:
    """Nothing is in it: who asks for it has mixed up the two."""
    code, text = invoke(*command, "--since", since, "--until", until)
    assert (2, True) == (code, f"--since {since} is not before --until {until}" in text)


@pytest.mark.parametrize("host", ["[::1", "h\u2100"])
@pytest.mark.parametrize(
    "arguments",
    [["tail", "--from"], ["audit", "--from"], ["replay", "--to", "sqlite:///x.db", "--from"], ["replay", "--to"]],
)
def test_a_url_whose_host_is_none_is_wrong_usage(arguments: list[str], host: str) -> None:
    """One line with the option and the URL, without its password, and exit code 2."""
    code, text = invoke(*arguments, f"redis://u:sesame@{host}/0")
    assert 2 == code
    (line,) = text.splitlines()
    assert line.startswith(f"celery-event-bridge: {arguments[-1]} redis://u:**@{host}/0: not a URL: ")


@pytest.mark.parametrize("host", ["[::1", "h\u2100"])
@pytest.mark.parametrize(
    ("arguments", "name"), [(["replay", "--to"], "--to "), (["check", "--broker-url"], "BRIDGE_BROKER_URL=")]
)
def test_a_broker_whose_host_is_none_is_wrong_usage(arguments: list[str], name: str, host: str) -> None:
    """As a stream's."""
    code, text = invoke(*arguments, f"AMQP://u:sesame@{host}//")
    assert 2 == code
    (line,) = text.splitlines()
    assert line.startswith(f"celery-event-bridge: {name}AMQP://u:**@{host}//: not a URL: ")


@pytest.mark.parametrize("option", ["--broker-url", "--redis-url"])
@pytest.mark.parametrize("url", [*MISTYPED, "redis:///u:sesame@h:x/0"])
def test_a_setting_whose_slashes_are_mistyped_is_named_without_its_password(option: str, url: str) -> None:
    """The broker's and a sink's, for `run` and for who reads the stream."""
    for command in ("check", "tail"):
        given = ["--sink", "redis", option, url.replace("redis", "amqp" if option == "--broker-url" else "redis")]
        code, text = invoke(command, *given, "--prefetch", "0")
        assert (2, False) == (code, "sesame" in text)


def test_a_broker_to_replay_to_is_named_without_its_password() -> None:
    """Also where its slashes are mistyped."""
    code, text = invoke("replay", "--to", "amqp:/u:sesame@h/0")
    assert (2, True, False) == (code, "--to **@h/0: " in text, "sesame" in text)


@pytest.mark.parametrize(
    ("option", "near"), [("--quue", "--queue"), ("--brokerurl", "--broker-url"), ("--log-levle", "--log-level")]
)
def test_an_option_mistyped_is_answered_with_the_nearest(option: str, near: str) -> None:
    """One of the core's."""
    code, text = invoke("run", option, "x")
    assert (2, True) == (code, near in text.splitlines()[-1])


def test_an_option_without_its_value_is_wrong_usage() -> None:
    """The core's and a sink's alike."""
    for option in ("--queue", "--sqlite-path"):
        code, text = invoke("run", option)
        assert (2, True) == (code, f"'{option}' requires an argument" in text)
