"""Addresses of brokers, as a setting or a URL has them. A login is in neither: librdkafka would take it for a host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

WITH_LOGIN = "user and password are settings: BRIDGE_KAFKA_SASL_USERNAME, BRIDGE_KAFKA_SASL_PASSWORD"
_SERVER = re.compile(
    r"\s*(?:(?:(?:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?(?:[\w.-]+|\[[\da-f:.]+(?:%\w+)?\])(?::\d{1,5})?)?\s*",
    re.IGNORECASE,
)
IN_URL = "kafka://host:9092,host2:9092/topic"


def servers(text: str, expected: str) -> str:
    """Return the addresses as they are. Raises ValueError, without the text, where they are none or have a login."""
    if "@" in text:
        raise ValueError(WITH_LOGIN)
    parts = text.split(",")
    if not text.strip(" ,") or not all(map(_SERVER.fullmatch, parts)):
        raise ValueError(f"expected {expected}")
    return text


def parts_of(url: str) -> tuple[str, str]:
    """Return the addresses and the topic, which may be empty. Raises ValueError, without the URL."""
    parts = urlsplit(url)
    topic = parts.path.removeprefix("/")
    if "@" in url:
        raise ValueError(WITH_LOGIN)
    if "/" in topic or parts.query or parts.fragment:
        raise ValueError(f"expected {IN_URL}")
    return servers(parts.netloc, IN_URL), topic
