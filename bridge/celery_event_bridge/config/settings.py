"""The core's settings: one frozen model, and no variable that it does not know is passed over in silence.

Plain pydantic, with a source of our own (loading.py): see docs/decisions/0004-settings.md. Those of a broker are in its
plug-in, under the same prefix; those of a sink in its own, under a prefix of theirs.
"""

from __future__ import annotations

import difflib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from celery_event_bridge.config import plugins
from celery_event_bridge.contract.broker_plugin import BrokerSettings, scheme_of, urls_in
from celery_event_bridge.contract.values import Seconds, address, words

_INSIDE = "kombu keeps an exchange's bindings inside each process there, so that events reach nobody else"
_SWITCHED_OFF = "Celery switches its events off there, as it has no fan-out"
NO_EVENTS = {
    **dict.fromkeys(("sqs", "azureservicebus", "azurestoragequeues", "kafka", "confluentkafka"), _INSIDE),
    **dict.fromkeys(("consul", "etcd", "slmq", "zookeeper"), _INSIDE),
    **dict.fromkeys(("sqlalchemy", "sqla"), _SWITCHED_OFF),
    "gcpubsub": "each process has a subscription of its own there, so that bridges could not share them",
}
"""Transports of kombu that Celery's events cannot be taken off, and why. `kafka` is the broker here, not the sink."""
A_URL = "expected a URL such as amqp://user:password@host:5672/vhost or redis://:password@host:6379/0"


class Settings(BrokerSettings):
    """Every setting but the brokers' and the sinks' own. Field `retry_max_interval` is `BRIDGE_RETRY_MAX_INTERVAL`."""

    redact: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        (), description="fields to blank; not available yet"
    )
    sink: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        ("sqlite",), description="kafka, redis, sqlite, stdout, or several: kafka,redis"
    )
    config: Path | None = Field(None, description="TOML file of these settings; variables win over it")
    linger: Seconds = Field(
        0.0, ge=0, le=1, description="seconds that events may wait for others: less CPU at usual rates"
    )
    retry_max_interval: Seconds = Field(10.0, gt=0, description="seconds that retries back off to at most")
    let_go_after: Seconds = Field(30.0, gt=0, description="seconds of sink outage until messages in hand go back")
    shutdown_timeout: Seconds = Field(25.0, ge=0, description="seconds to confirm what is in hand when stopped")
    http: Annotated[tuple[str, int] | None, BeforeValidator(address)] = Field(
        ("127.0.0.1", 9810),
        description="address of health and metrics, or off",
        json_schema_extra={"unset": "off"},
    )
    log_format: Literal["console", "json"] | None = Field(
        None, description="format of the log; by default console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("broker_url")
    @classmethod
    def _a_broker_that_carries_events(cls, value: str) -> str:
        urls = urls_in(value)
        if not urls:
            raise ValueError(A_URL)
        for url in urls:
            _refuse_without_events(url)
        with suppress(plugins.NotInstalled):  # told where the broker's own settings are read
            kinds = {frozenset(plugins.broker(url).schemes) for url in urls}
            if len(kinds) == 1:
                return value
            raise ValueError("expected URLs of one kind: replicas try them in turn, as nodes of one cluster")
        return value

    @field_validator("redact")
    @classmethod
    def _served_by_a_later_version(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            raise ValueError("not available yet")
        return value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def _refuse_without_events(url: str) -> None:
    """Raise ValueError for the URL of a broker that no plug-in serves."""
    try:
        urlsplit(url)
    except ValueError:  # whose text may repeat the password
        raise ValueError("not a URL: the host is wrong; an IPv6 address is [::1]") from None
    scheme = scheme_of(url)
    transport = scheme.partition("+")[0]
    served = plugins.broker_schemes()
    if scheme in served:
        return
    if transport in NO_EVENTS:
        raise ValueError(f"Celery's events cannot be taken off {transport}://: {NO_EVENTS[transport]}")
    near = difflib.get_close_matches(scheme, served, n=1) if "://" in url else []
    raise ValueError(f"{A_URL}; did you mean the scheme {near[0]}?" if near else A_URL)
