"""Settings of the brokers that are reached through kombu: each mistake is refused at the start in a line."""

from __future__ import annotations

import json

import pytest

from celery_event_bridge.config.loading import SettingsError, load

FOLDERS = json.dumps({"data_folder_in": "/x", "data_folder_out": "/x"})


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"BRIDGE_BROKER_URL": "filesystem://"}, "filesystem:// needs data_folder_in"),
        ({"BRIDGE_BROKER_TRANSPORT_OPTIONS": '{"data_folder_in": 5}'}, "filesystem:// needs data_folder_in"),
        ({"BRIDGE_BROKER_URL": "mongodb://a;mongodb://b"}, "the hosts of a MongoDB have commas between them"),
        ({"BRIDGE_QUEUE": "a/b"}, "BRIDGE_QUEUE: expected letters, digits"),
        ({"BRIDGE_EVENT_EXCHANGE": "../x"}, "BRIDGE_EVENT_EXCHANGE: expected letters, digits"),
    ],
)
def test_what_cannot_be_meant_is_refused(variables: dict[str, str], says: str) -> None:
    """The line names the setting and what is allowed."""
    given = {"BRIDGE_BROKER_URL": "filesystem://", "BRIDGE_SINK": "stdout"}
    if "BRIDGE_BROKER_URL" not in variables:
        given["BRIDGE_BROKER_TRANSPORT_OPTIONS"] = FOLDERS
    with pytest.raises(SettingsError, match="BRIDGE_") as caught:
        load({}, given | variables)
    assert says in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())
