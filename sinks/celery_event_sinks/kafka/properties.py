"""librdkafka's properties: the names and values that it takes, asked without making a client."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from confluent_kafka import KafkaException, Producer

NO_PROPERTY = "bridge.no.property"
"""Name that librdkafka does not know. It takes properties in their order and makes a client after the last, so that a
configuration which ends with this one makes none: it is refused for a property before it, or else for this one."""
PLUGINS = "plugin.library.paths"
"""Property whose libraries bring properties of their own."""
SASL_LOGIN = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
"""Mechanisms that take a user and a password."""


def refusal_of(properties: Mapping[str, str], name: str) -> str:
    """Return why librdkafka does not take this one of the properties; an empty text where it does."""
    plugins = {PLUGINS: properties[PLUGINS]} if PLUGINS in properties else {}
    said = _ask({**plugins, name: properties[name]})
    return "" if said == _nothing() else said.strip()


def sasl_trouble(properties: Mapping[str, str]) -> str:
    """Return what is missing of a login by SASL, named by its variables; an empty text where nothing is."""
    if not properties.get("security.protocol", "").upper().startswith("SASL"):
        return ""
    mechanism = (properties.get("sasl.mechanism") or properties.get("sasl.mechanisms") or "GSSAPI").upper()
    if mechanism == "GSSAPI" and refusal_of({"builtin.features": "sasl_gssapi"}, "builtin.features"):
        return (
            "BRIDGE_KAFKA_SASL_MECHANISM: set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; "
            "GSSAPI, librdkafka's default, is not built in"
        )
    if mechanism in SASL_LOGIN:
        for name in ("username", "password"):
            if not properties.get(f"sasl.{name}"):
                return f"BRIDGE_KAFKA_SASL_{name.upper()}: set it: {mechanism} takes a user and a password"
    return ""


def is_unknown(refusal: str) -> bool:
    """Return whether it is the name that librdkafka does not know."""
    return "No such configuration property" in refusal


@cache
def _nothing() -> str:
    return _ask({})


def _ask(properties: Mapping[str, str]) -> str:
    try:
        Producer({"log_level": 0, **properties, NO_PROPERTY: ""})
    except KafkaException as exc:
        return str(exc.args[0].str())
    raise AssertionError("librdkafka has made a client of a property that there is none of")
