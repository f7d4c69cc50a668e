"""Settings of TLS, the same for each broker that has it."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, FilePath, model_validator

from celery_event_bridge.contract.broker_plugin import BrokerSettings, scheme_of

TLS_FIELDS = ("broker_tls_ca", "broker_tls_cert", "broker_tls_key", "broker_tls_verify")


class TlsSettings(BrokerSettings):
    """Field `broker_tls_ca` is `BRIDGE_BROKER_TLS_CA` and `--broker-tls-ca`."""

    tls_schemes: ClassVar[tuple[str, ...]]
    """Schemes of URLs with which they are used; the first is the one to name."""

    broker_tls_ca: FilePath | None = Field(
        None, description="file with the CA certificates to trust (amqps://, rediss://)"
    )
    broker_tls_cert: FilePath | None = Field(None, description="file with the client's certificate")
    broker_tls_key: FilePath | None = Field(None, description="file with the client's private key")
    broker_tls_verify: bool = Field(default=True, description="verify the broker's certificate and host name")

    @model_validator(mode="after")
    def _tls_where_it_can_be(self) -> Self:
        given = any((self.broker_tls_ca, self.broker_tls_cert, self.broker_tls_key)) or not self.broker_tls_verify
        schemes = [scheme_of(url) for url in self.broker_urls]
        if given and not any(scheme in self.tls_schemes for scheme in schemes):
            raise ValueError(
                f"BRIDGE_BROKER_TLS_*: only used with {self.tls_schemes[0]}://, but BRIDGE_BROKER_URL says "
                f"{schemes[0] if schemes else ''}://"
            )
        if bool(self.broker_tls_cert) != bool(self.broker_tls_key):
            raise ValueError("BRIDGE_BROKER_TLS_CERT and BRIDGE_BROKER_TLS_KEY: give both or neither")
        return self
