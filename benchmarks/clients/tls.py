"""TLS as py-amqp and kombu want it described."""

from __future__ import annotations

import ssl
from typing import Any


def verified_by(authority: str | None) -> dict[str, Any] | bool:
    """Trust that file's certificate, and check the host's name; False is no TLS."""
    if not authority:
        return False
    return {"ca_certs": authority, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "localhost"}
