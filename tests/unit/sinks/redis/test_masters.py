"""URLs of sentinels: what is read of them, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from celery_event_sinks.redis.masters import Masters, masters_of
from celery_event_sinks.redis.settings import RedisSettings
from tests.support.settings import error


def test_any_other_url_is_left_as_it_is() -> None:
    """A server's own has no sentinels."""
    assert (None, "redis://u:p@h:1/2") == masters_of("redis://u:p@h:1/2", {})


@pytest.mark.parametrize(
    ("url", "masters", "plain"),
    [
        (
            "redis+sentinel://h/m",
            Masters("m", [("h", 26379)], {}),
            "redis://master/",
        ),
        (
            "redis+sentinel://u:p%40@h:1,[::1]:2,h3/m/3?sentinel_password=s&socket_keepalive=true",
            Masters("m", [("h", 1), ("::1", 2), ("h3", 26379)], {"password": "s"}),
            "redis://u:p%40@master/3?socket_keepalive=true",
        ),
        (
            "rediss+sentinel://:p@h:1/m/0",
            Masters("m", [("h", 1)], {"ssl": True, "ssl_ca_certs": "ca.pem"}),
            "rediss://:p@master/0",
        ),
    ],
)
def test_sentinels_and_the_masters_own_url(url: str, masters: Masters, plain: str) -> None:
    """User, password, database and options are the master's; what begins with `sentinel_` is theirs."""
    tls: dict[str, Any] = {"ssl_ca_certs": "ca.pem"}
    assert (masters, plain) == masters_of(url, tls)


def test_every_replica_calls_the_stream_the_same() -> None:
    """Whoever is the master: bridges that store in the same place are not told of each other."""
    client = RedisSettings(url="redis+sentinel://u:sesame@h:1,h2:2/m/3").client()
    assert "m of the sentinels h:1,h2:2/3" == client.address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://u:sesame@h:1", "after the sentinels comes the master's name"),
        ("redis+sentinel://u:sesame@h:1/", "after the sentinels comes the master's name"),
        ("redis+sentinel://u:sesame@h:x/m/0", "sentinels are host:26379, separated by commas"),
        ("redis+sentinel://u:sesame@h:1,,h2/m/0", "sentinels are host:26379, separated by commas"),
        ("redis+sentinel://u:sesame@h:70000/m/0", "sentinels are host:26379, separated by commas"),
        ("redis+sentinel://u:sesame@h:1/m/zero", "after the host comes the database's number"),
    ],
)
def test_a_url_of_sentinels_that_cannot_be_read(url: str, said: str) -> None:
    """One line says what is expected, without the password."""
    line = error(BRIDGE_SINK="redis", BRIDGE_REDIS_URL=url)
    assert said in line
    assert "sesame" not in line
