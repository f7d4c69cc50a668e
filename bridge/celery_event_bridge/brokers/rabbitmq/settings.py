"""RabbitMQ's settings: its own beside those that every broker is given."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from celery_event_bridge.brokers.common_settings import CommonSettings
from celery_event_bridge.brokers.tls_settings import TLS_FIELDS, TlsSettings
from celery_event_bridge.contract.broker_plugin import scheme_of, urls_in
from celery_event_bridge.contract.values import Seconds, Size, is_http_url, is_one_line

SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})
LONGEST_TTL = 4_294_967
"""Seconds; RabbitMQ refuses an `x-message-ttl` of 2^32 ms and more."""
LOGIN_METHODS = ("AMQPLAIN", "PLAIN", "EXTERNAL", "GSSAPI", "ANONYMOUS")
BEFORE_QUERY = frozenset({"transport", "hostname", "port", "userid", "password", "virtual_host"})
"""Parts of a URL that the client calls so, and takes no second time from the query."""
LEAST_HEARTBEAT = 10
"""Seconds."""


class Settings(TlsSettings, CommonSettings):
    """Field `queue_ttl` is `BRIDGE_QUEUE_TTL` and `--queue-ttl`."""

    tls_schemes: ClassVar = ("amqps",)

    groups: ClassVar = {
        "Broker": (
            "management_url",
            "broker_transport_options",
            *TLS_FIELDS,
            "event_exchange",
        ),
        "Queues": (
            "queue",
            "declare",
            "queue_type",
            "queue_ttl",
            "overflow_max_bytes",
            "rejected_max_bytes",
            "shards",
            "ordered",
        ),
    }

    management_url: str | None = Field(
        None, description="RabbitMQ's management API, read only: policies and bindings, e.g. http://rabbitmq:15672"
    )
    declare: bool = Field(default=True, description="RabbitMQ: false: the queues are there, declare nothing")
    queue_type: Literal["quorum", "classic"] = Field("quorum", description="RabbitMQ: kind of the queues")
    queue_ttl: Seconds = Field(
        5.0, ge=0, le=LONGEST_TTL, description="RabbitMQ: seconds before an event moves to overflow; 0: no limit"
    )
    overflow_max_bytes: Size = Field(4 * 2**30, ge=1, description="RabbitMQ: bound of overflow and of the live queue")
    shards: int = Field(
        1, ge=1, le=256, description="RabbitMQ: live queues; more than one keeps each worker's events in order"
    )
    ordered: bool = Field(
        default=False,
        description="RabbitMQ: strict order: one replica is active on each live queue, the others stand by",
    )

    @property
    def keeps_order(self) -> bool:
        """True if each worker's events stay in order: with shards, or where it is asked for."""
        return self.ordered or self.shards > 1

    @field_validator("broker_url")
    @classmethod
    def _urls_that_the_client_reads_as_they_are_meant(cls, value: str) -> str:
        for url in urls_in(value):
            if scheme_of(url) not in SCHEMES:
                raise ValueError("expected amqp://user:password@host:5672/vhost or amqps://...")
            _check_parts(url)
        return value

    @model_validator(mode="after")
    def _a_heartbeat_that_a_slow_sink_keeps(self) -> Settings:
        given = {"BRIDGE_BROKER_TRANSPORT_OPTIONS": self.broker_transport_options.get("heartbeat")}
        for url in self.broker_urls:
            given["BRIDGE_BROKER_URL"] = next(iter(parse_qs(urlsplit(url).query).get("heartbeat", ())), None)
            for variable, text in given.items():
                if text is not None and not _is_heartbeat(text):
                    raise ValueError(
                        f"{variable}: a heartbeat is 0 for none, or {LEAST_HEARTBEAT} to 3600 seconds: a call to the "
                        "sink may take 5, and two missed heartbeats end the connection"
                    )
        return self

    @field_validator("broker_transport_options")
    @classmethod
    def _a_login_that_there_is(cls, value: dict[str, Any]) -> dict[str, Any]:
        method = value.get("login_method")
        if method is not None and method not in LOGIN_METHODS:
            raise ValueError(f"a login_method is one of {', '.join(LOGIN_METHODS)}")
        return value

    @field_validator("management_url")
    @classmethod
    def _an_api_that_can_be_asked(cls, value: str | None) -> str | None:
        if value is not None and not is_http_url(value):
            raise ValueError("expected http://host:15672 or https://user:password@host:15671")
        return value

    @field_validator("queue")
    @classmethod
    def _a_queue_that_is_not_celerys(cls, value: str) -> str:
        if value == "celery" or value.endswith((".pidbox", ".celeryev")):
            raise ValueError(
                "a queue of Celery's own, whose messages are tasks or commands, not events; the default, "
                "celeryev.bridge, or another name of the bridge's own is meant"
            )
        return value

    @field_validator("event_exchange")
    @classmethod
    def _an_exchange_of_events(cls, value: str) -> str:
        if value == "celery" or value.endswith(".pidbox") or value.startswith("amq."):
            raise ValueError(
                "an exchange of Celery's for other messages than events, or of RabbitMQ's own; what Celery's "
                "event_exchange says is meant, celeryev by default"
            )
        return value

    @field_validator("queue_type", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def _is_heartbeat(text: Any) -> bool:
    try:
        seconds = float(text)
    except (TypeError, ValueError):
        return False
    return seconds == 0 or LEAST_HEARTBEAT <= seconds <= 3600


def _check_parts(url: str) -> None:
    """Refuse a password that was not %-encoded, which is taken for another part of the URL, and parts given twice."""
    if not is_one_line(url):
        raise ValueError("expected one line without tabs: in a password they are %0A and %09")
    try:
        parts = urlsplit(url)
    except ValueError:  # whose text may repeat the password
        raise ValueError("not a URL: the host is wrong; an IPv6 address is [::1]") from None
    try:
        strange = (
            (parts.port or 0) < 0 or "@" in parts.path + parts.query + parts.fragment or parts.netloc.count("@") > 1
        )
    except ValueError:
        strange = True
    if strange:
        raise ValueError("the port is no number from 0 to 65535, or a / @ # or ? in the password is not %-encoded")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if BEFORE_QUERY & options.keys():
        raise ValueError(
            "user, password, host, port and vhost stand before the ?, as in amqp://user:password@host:5672/vhost"
        )
    if options.get("login_method", LOGIN_METHODS[0]) not in LOGIN_METHODS:
        raise ValueError(f"a login_method is one of {', '.join(LOGIN_METHODS)}")
