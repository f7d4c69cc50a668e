"""Celery's transport options with a slip in them: told of with the nearest name, or refused where Celery fails too."""

from __future__ import annotations

import inspect
import json

import amqp
import pytest
from kombu.transport import filesystem, memory, redis

from celery_event_bridge.brokers.celery_options import unknown_options
from celery_event_bridge.config.loading import SettingsError, load
from tests.support.settings import unused


@pytest.mark.parametrize(
    ("url", "name", "nearest"),
    [
        ("redis://h", "global_key_prefix", "global_keyprefix"),
        ("sentinel://h", "sentinel_kwarg", "sentinel_kwargs"),
        ("valkey://h", "Fanout_Prefix", "fanout_prefix"),
        ("amqp://h", "hearbeat", "heartbeat"),
        ("filesystem://", "control_foldr", "control_folder"),
        ("memory://", "poling_interval", "polling_interval"),
        ("redis://h", "xyzzy", ""),
    ],
)
def test_an_unknown_transport_option_is_told_of(url: str, name: str, nearest: str) -> None:
    """It passes in silence at Celery's end: events on another channel, say, would never come."""
    options = {name: 1, "data_folder_in": "x"} if url.startswith("filesystem") else {name: 1}
    options |= {"master_name": "m"} if url.startswith("sentinel") else {}
    (line,) = unused(BRIDGE_BROKER_URL=url, BRIDGE_BROKER_TRANSPORT_OPTIONS=json.dumps(options), BRIDGE_SINK="stdout")
    assert f"BRIDGE_BROKER_TRANSPORT_OPTIONS: {url.partition('://')[0]}:// has no option {name!r}" in line
    assert f"did you mean {nearest}?" in line if nearest else "did you mean" not in line


@pytest.mark.parametrize(
    ("scheme", "known"),
    [
        ("redis", redis.Channel.from_transport_options),
        ("sentinel", redis.SentinelChannel.from_transport_options),
        ("memory", memory.Channel.from_transport_options),
        ("filesystem", ("data_folder_in", "data_folder_out", "store_processed", "processed_folder", "control_folder")),
        (
            "amqp",
            {*inspect.signature(amqp.Connection).parameters}
            - {"host", "userid", "password", "virtual_host", "frame_handler", "frame_writer", "kwargs"},
        ),
    ],
)
def test_what_the_client_takes_is_known(scheme: str, known: tuple[str, ...]) -> None:
    """By the version that is installed."""
    assert [] == unknown_options(scheme, known)
    assert filesystem.Channel is not None


@pytest.mark.parametrize("url", ["redis://h/0?{}=1", "sentinel://h?{}=1", "filesystem://?{}=1", "memory://?{}=1"])
def test_an_unknown_option_of_the_url_is_refused(url: str) -> None:
    """Kombu fails there as well, with a traceback."""
    given = {"BRIDGE_SINK": "stdout"}
    if url.startswith(("filesystem", "sentinel")):
        given["BRIDGE_BROKER_TRANSPORT_OPTIONS"] = '{"data_folder_in": "x", "master_name": "m"}'
    with pytest.raises(SettingsError) as caught:
        load({}, given | {"BRIDGE_BROKER_URL": url.format("connect_timeot")})
    assert "BRIDGE_BROKER_URL" in str(caught.value)
    assert "there is no option connect_timeot, did you mean connect_timeout?" in str(caught.value)
    assert load({}, given | {"BRIDGE_BROKER_URL": url.format("connect_timeout")})
