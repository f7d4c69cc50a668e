"""Secrets from files and pipes: read again where they change, and holding up nobody."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from celery_event_bridge.config.loading import load
from celery_event_bridge.contract import bounded_file, secret_files
from celery_event_bridge.contract.secret_files import SecretFiles
from celery_event_sinks.kafka.settings import KafkaSettings
from tests.support.settings import error, settings


def test_a_secret_that_came_from_a_file_is_read_again(tmp_path: Path) -> None:
    """Also what was made of it; the value stays where the file is gone, empty, or was none."""
    file = tmp_path / "url"
    file.write_text("amqp://u:old@host//\n")
    (old,) = settings(BRIDGE_BROKER_URL_FILE=str(file)).broker_urls
    secret_files.derive(f"{old}?heartbeat=1", old, lambda url: f"{url}?heartbeat=1")
    assert old == secret_files.fresh(old)
    for content in ("", "\n"):
        file.write_text(content)
        assert old == secret_files.fresh(old)
    file.write_text("amqp://u:new@host//\n")
    assert secret_files.fresh(old) == "amqp://u:new@host//"
    assert secret_files.fresh(f"{old}?heartbeat=1") == "amqp://u:new@host//?heartbeat=1"
    file.write_text("amqp://u:newer@host//")
    for earlier in ("amqp://u:old@host//", "amqp://u:new@host//"):
        assert secret_files.fresh(earlier) == "amqp://u:newer@host//"
    assert secret_files.fresh("amqp://u:new@host//?heartbeat=1") == "amqp://u:newer@host//?heartbeat=1"
    file.unlink()
    assert secret_files.fresh(old) == old
    assert secret_files.fresh("amqp://u:typed@host//") == "amqp://u:typed@host//"


def test_of_two_secrets_that_were_the_same_each_has_its_own_file(tmp_path: Path) -> None:
    """The one whose file has changed is another, and the other one stays, whichever it is."""
    files = {name: tmp_path / name for name in ("sasl_password", "ssl_key_password")}
    for rotated, its_file in files.items():
        for file in files.values():
            file.write_text("same\n")
        given = {f"BRIDGE_KAFKA_{name.upper()}_FILE": str(file) for name, file in files.items()}
        (loaded,) = [made for _, made in load({"BRIDGE_SINK": "kafka", **given}).sinks.values()]
        assert isinstance(loaded, KafkaSettings)
        its_file.write_text("rotated\n")
        assert loaded.fresh().model_extra == dict.fromkeys(files, "same") | {rotated: "rotated"}


def test_a_secret_that_came_from_no_file_stays(tmp_path: Path) -> None:
    """Though another one from a file was the same."""
    file = tmp_path / "sasl_password"
    file.write_text("alike\n")
    given = {"BRIDGE_KAFKA_SASL_PASSWORD_FILE": str(file), "BRIDGE_KAFKA_SSL_KEY_PASSWORD": "alike"}
    (loaded,) = [made for _, made in load({"BRIDGE_SINK": "kafka", **given}).sinks.values()]
    assert isinstance(loaded, KafkaSettings)
    file.write_text("rotated\n")
    assert loaded.fresh().model_extra == {"sasl_password": "rotated", "ssl_key_password": "alike"}


def test_a_password_that_is_rolled_back_is_not_asked_for_without_end(tmp_path: Path) -> None:
    """A URL that was made of another one may come to be the origin of that one."""
    secrets = SecretFiles()
    file = tmp_path / "url"
    file.write_text("old\n")
    secrets.remember("old", file)
    secrets.derive("old", "old", lambda origin: origin)
    secrets.derive("old/", "old", lambda origin: f"{origin}/")
    secrets.derive("old", "old/", lambda origin: origin.removesuffix("/"))
    assert ("old", "old/") == (secrets.fresh("old"), secrets.fresh("old/"))
    file.write_text("new\n")
    assert ("new", "new/") == (secrets.fresh("old"), secrets.fresh("old/"))


def test_a_secret_that_one_of_its_files_still_holds_stays(tmp_path: Path) -> None:
    """Nobody can tell which of them was meant; once all have changed it is another one."""
    secrets = SecretFiles()
    first, second = tmp_path / "first", tmp_path / "second"
    for file in (first, second):
        file.write_text("same\n")
        secrets.remember("same", file)
    first.write_text("rotated\n")
    assert secrets.fresh("same") == "same"
    second.write_text("rotated\n")
    assert secrets.fresh("same") == "rotated"


def test_a_pipe_may_be_given_at_the_start(tmp_path: Path) -> None:
    """As of a shell's process substitution, whose writer may be gone by then; all of it is read."""
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:" + b"x" * 9000)
    threading.Timer(0.2, lambda: (os.write(writing, b"@host//\n"), os.close(writing))).start()
    value = settings(BRIDGE_BROKER_URL_FILE=f"/dev/fd/{reading}").broker_url
    assert f"amqp://u:{'x' * 9000}@host//" == value
    os.close(reading)
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:pw@host//\n")
    os.close(writing)
    assert "amqp://u:pw@host//" == settings(BRIDGE_BROKER_URL_FILE=f"/dev/fd/{reading}").broker_url
    os.close(reading)


def test_a_pipe_that_gives_nothing_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """After some seconds; and a device, or what is far too large for a secret, is at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(TimeoutError, match="nothing came through it"):
        bounded_file.read(pipe, may_be_pipe=True, pipe_wait=0.1)
    keeps_open = os.open(pipe, os.O_RDWR)
    os.write(keeps_open, b"half")
    with pytest.raises(TimeoutError, match="its end did not come"):
        bounded_file.read(pipe, may_be_pipe=True, pipe_wait=0.1)
    os.close(keeps_open)
    assert "neither a regular file nor a pipe" in error(BRIDGE_BROKER_URL_FILE="/dev/zero")
    large = tmp_path / "large"
    large.write_bytes(b"x" * (bounded_file.LARGEST + 1))
    assert "more than" in error(BRIDGE_BROKER_URL_FILE=str(large))


@pytest.mark.timeout(30)
def test_a_secrets_file_that_became_a_pipe_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The value stays, and that it cannot be read again is said once, without it; a file in its place is read."""
    caplog.set_level("INFO")
    file = tmp_path / "url"
    file.write_text("amqp://u:open-sesame@host//\n")
    old = settings(BRIDGE_BROKER_URL_FILE=str(file)).broker_url
    file.unlink()
    os.mkfifo(file)
    for _ in range(3):
        assert old == secret_files.fresh(old)
    file.unlink()
    file.write_text("amqp://u:new@host//\n")
    assert secret_files.fresh(old) == "amqp://u:new@host//"
    said = [record.getMessage() for record in caplog.records]
    assert 1 == len(
        [line for line in said if f"BRIDGE_BROKER_URL_FILE={file} cannot be read again: it is a pipe" in line]
    )
    assert 1 == len([line for line in said if "can be read again" in line])
    assert "sesame" not in "".join(said)
