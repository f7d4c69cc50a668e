"""The log: a line an event, as JSON or for people, with an end and without secrets."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from celery_event_bridge.observe import logs


def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk is full: the line is gone, and the caller does not notice."""
    full = Path("/dev/full").open("w")  # noqa: SIM115 - what it could not write fails its end too
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        logs.configure("json", "info")
        structlog.get_logger().info("x " * 100_000)
        logging.getLogger("library").error("x " * 100_000)
    with suppress(OSError):
        full.close()


@pytest.mark.parametrize("text", ["x" * 100_000, "a " * 50_000, "redis://:open-sesame@h/" * 5000])
def test_a_log_line_has_an_end(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever others have put into it; and no half of a password is left at that end."""
    logs.configure("json", "info")
    structlog.get_logger("test").info("away", reason=text)
    reason = json.loads(capsys.readouterr().err)["reason"]
    assert len(reason) <= logs.LONGEST + 30
    assert reason.endswith(f"... ({len(text):,} characters)")
    assert "sesame" not in reason


def test_a_log_line_is_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Also what a library says through the standard library."""
    logs.configure("json", "info")
    structlog.get_logger("test").warning("away", reason="amqp://u:secret@h/", messages=3)
    structlog.get_logger("test").debug("too much")
    logging.getLogger("kombu").warning("lost %s", "redis://:secret@h")
    logging.getLogger("amqp").warning("of no interest")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ("away", "warning", "amqp://u:**@h/", 3) == (
        first["event"],
        first["level"],
        first["reason"],
        first["messages"],
    )
    assert ("lost redis://:**@h", "warning") == (second["event"], second["level"])


def test_the_console_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """No JSON, and no colours where there is no terminal."""
    logs.configure("console", "info")
    structlog.get_logger("test").info("started", queue="q")
    (line,) = capsys.readouterr().err.splitlines()
    assert "started" in line
    assert "queue=q" in line
    assert "\x1b" not in line


def failed(text: str) -> Exception:
    """An exception as it is caught."""
    try:
        raise ConnectionError(text)
    except ConnectionError as exc:
        return exc


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_traceback_in_the_log_has_a_secret(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """Neither ours nor a library's, in either format."""
    logs.configure(log_format, "info")
    error = failed("lost amqp://u:sesame@h/ and redis://h?password=sesame")
    structlog.get_logger("test").error("ours", exc_info=error)
    logging.getLogger("kombu").error("theirs", exc_info=error)
    text = capsys.readouterr().err
    assert (2, 2) == (text.count("amqp://u:**@h/"), text.count("redis://h?password=**"))
    assert "sesame" not in text


@pytest.mark.parametrize("log_format", ["json", None])
def test_json_where_nobody_watches(capsys: pytest.CaptureFixture[str], log_format: str | None) -> None:
    """By default, and always one line an event, with its time in UTC."""
    logs.configure(log_format, "info")
    structlog.get_logger("test").info("two\nlines", number=1)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert ("two\nlines", 1, "info") == (record["event"], record["number"], record["level"])
    assert record["timestamp"].endswith("Z")
    assert {"event", "number", "level", "timestamp"} == set(record)


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_levels(capsys: pytest.CaptureFixture[str], level: str, ours: list[str], theirs: list[str]) -> None:
    """Ours as asked for; a library's from warnings on, and py-amqp's errors alone."""
    logs.configure("json", level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("test"), name)("ours")
        getattr(logging.getLogger("kombu"), name)("theirs")
        getattr(logging.getLogger("amqp"), name)("amqp's")
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    found = {who: [r["level"] for r in records if r["event"] == who] for who in ("ours", "theirs", "amqp's")}
    assert {"ours": ours, "theirs": theirs, "amqp's": ["error"]} == found
