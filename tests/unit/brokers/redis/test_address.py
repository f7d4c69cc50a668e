"""URLs and names of a Redis broker, read as kombu reads them."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from kombu import Connection
from kombu.transport.redis import Channel

from celery_event_bridge.brokers.redis.address import addresses, names
from celery_event_bridge.brokers.redis.link import tls_options
from celery_event_bridge.brokers.redis.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://h",
        "redis://h/",
        "redis://h:1234/3",
        "redis://:p%40ss@h/2",
        "redis://user:p%2Fw@h:7000/0",
        "redis://[::1]:7000/1",
        "rediss://h:7000/1?ssl_cert_reqs=CERT_NONE",
    ],
)
def test_a_url_means_what_kombu_makes_of_it(url: str) -> None:
    """Host, port, database, user and password."""
    client = Connection(url)
    (found,) = addresses((url,))
    database = int(client.virtual_host.strip("/") or 0) if client.virtual_host else 0
    assert (client.hostname or "127.0.0.1", client.port or 6379, database) == (found.host, found.port, found.database)
    assert (client.userid or None, client.password or None) == (found.username, found.password or None)
    assert url.startswith("rediss") is found.tls


@pytest.mark.parametrize(
    "query",
    [
        "ssl_cert_reqs=CERT_NONE",
        "ssl_cert_reqs=optional&ssl_check_hostname=False",
        "ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ciphers=HIGH",
        "ssl_ca_certs={file}&ssl_certfile={file}&ssl_keyfile={file}",
    ],
)
@pytest.mark.parametrize("scheme", ["rediss", "redis", "sentinel"])
def test_options_of_tls_are_those_that_kombu_makes_of_the_url(scheme: str, query: str, tmp_path: Path) -> None:
    """Also where the scheme says nothing of TLS: to sentinels it is that of their master."""
    (file := tmp_path / "file.pem").touch()
    url = f"{scheme}://h/0?{query.format(file=file)}"
    (found,) = addresses((url,))
    theirs = dict(Connection(url).ssl)
    if "ssl_cert_reqs" in theirs:
        theirs["ssl_cert_reqs"] = theirs["ssl_cert_reqs"].name.removeprefix("CERT_").lower()
    assert (True, theirs) == (found.tls, dict(found.options))


def test_tls_of_a_server_is_verified_unless_it_is_said() -> None:
    """Celery warns of a `rediss://` without options and verifies nothing; the bridge verifies."""
    for url, given, expected in (
        ("redis://h", {}, {}),
        ("rediss://h", {}, {"ssl_cert_reqs": "required"}),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", {}, {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ("rediss://h", {"broker_tls_verify": False}, {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
    ):
        settings = Settings.model_validate({"broker_url": url, **given})
        assert expected == tls_options(settings, settings.addresses[0])


def test_sentinels_are_one_server() -> None:
    """All of them are asked for the master, whose login is the first URL's."""
    urls = ("sentinel://:pw@a:26380/4", "sentinel://b")
    (found,) = addresses(urls)
    assert (("a", 26380), ("b", 26379)) == found.sentinels
    assert ("pw", 4) == (found.password, found.database)
    assert "pw" not in found.where


@pytest.mark.parametrize("url", ["redis://h/x", "redis://h:1:2/0", "redis://u:a/b@h/0", "redis://u:se#same@h/0"])
def test_a_url_that_would_be_misread_is_refused(url: str) -> None:
    """In words that repeat nothing of it."""
    with pytest.raises(ValueError, match=r"number|%-encoded") as caught:
        addresses((url,))
    assert "same" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"global_keyprefix": "app:"},
        {"fanout_prefix": False},
        {"fanout_prefix": "/mine.{db}."},
        {"global_keyprefix": "a*b[", "fanout_prefix": True},
    ],
)
@pytest.mark.parametrize("patterns", [True, False])
def test_the_channel_is_the_one_that_celery_publishes_on(options: dict[str, object], *, patterns: bool) -> None:
    """With every prefix, and with and without routing keys in it; and the pattern takes no other one."""
    given = {**options, "fanout_patterns": patterns}
    found = names(database=3, exchange="celeryev", queue="celeryev.bridge", options=given)

    class Bare(Channel):  # without a connection: names alone
        def __init__(self) -> None:
            prefix = options.get("fanout_prefix", True)
            self.keyprefix_fanout = prefix if isinstance(prefix, str) else ("/{db}." if prefix else "")
            self.keyprefix_fanout = self.keyprefix_fanout.format(db=3)
            self.fanout_patterns = patterns

        def __del__(self) -> None:
            pass

    topic = str(options.get("global_keyprefix", "")) + Bare()._get_publish_topic("celeryev", "task.sent")
    shapes = [pattern.decode().replace("\\*", "[*]").replace("\\[", "[[]") for pattern in found.patterns]
    assert any(fnmatch.fnmatchcase(topic, shape) for shape in shapes)
    for own in (found.control, found.again):
        assert not any(fnmatch.fnmatchcase(own.decode(), shape) for shape in shapes)


def test_sentinels_need_the_name_of_the_master() -> None:
    """Said with the setting that has it."""
    with pytest.raises(ValueError, match="master_name"):
        Settings(broker_url="sentinel://h")
    assert Settings(broker_url="sentinel://h", broker_transport_options='{"master_name": "m"}').has_sentinels  # type: ignore[arg-type]
