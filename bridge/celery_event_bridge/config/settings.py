"""The settings: one frozen model, and no variable that it does not know is passed over in silence.

Plain pydantic, with a source of our own (settings_source.py): see docs/decisions/0004-settings.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FilePath, Json, field_validator, model_validator

from celery_event_bridge.contract.values import (
    QueueName,
    Seconds,
    ShortName,
    Size,
    address,
    is_http_url,
    is_one_line,
    patterns,
    words,
)

AMQP = frozenset({"amqp", "amqps", "pyamqp"})
NO_EVENTS = frozenset(
    {"sqs", "azureservicebus", "azurestoragequeues", "kafka", "confluentkafka", "sqlalchemy", "sqla", "gcpubsub"}
)
"""Transports of kombu without fan-out: Celery's events never leave a worker there."""
DEFAULT_BROKER = "amqp://guest:guest@localhost:5672//"
LONGEST_TTL = 4_294_967
"""Seconds; RabbitMQ refuses an `x-message-ttl` of 2^32 ms and more."""


LOGIN_METHODS = ("AMQPLAIN", "PLAIN", "EXTERNAL", "GSSAPI", "ANONYMOUS")
BEFORE_QUERY = frozenset({"transport", "hostname", "port", "userid", "password", "virtual_host"})
"""Parts of a URL that the client calls so, and takes no second time from the query."""
LEAST_HEARTBEAT = 10
"""Seconds."""


class Settings(BaseModel):
    """Every setting but the sinks'. Field `queue_ttl` is `BRIDGE_QUEUE_TTL` and `--queue-ttl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker_url: str = Field(DEFAULT_BROKER, description="Celery's broker; several separated by ; are tried in turn")
    management_url: str | None = Field(
        None, description="RabbitMQ's management API, read only: policies and bindings, e.g. http://rabbitmq:15672"
    )
    broker_transport_options: Json[dict[str, Any]] = Field(
        default_factory=dict, description="JSON, as Celery's broker_transport_options"
    )
    broker_tls_ca: FilePath | None = Field(None, description="file with the CA certificates to trust (amqps://)")
    broker_tls_cert: FilePath | None = Field(None, description="file with the client's certificate")
    broker_tls_key: FilePath | None = Field(None, description="file with the client's private key")
    broker_tls_verify: bool = Field(True, description="verify the broker's certificate and host name")
    event_exchange: ShortName = Field("celeryev", min_length=1, description="Celery's event_exchange")
    queue: QueueName = Field("celeryev.bridge", min_length=1, description="queue that all replicas share")
    declare: bool = Field(True, description="false: the queues are there already, declare nothing")
    queue_type: Literal["quorum", "classic"] = Field("quorum", description="kind of the queues")
    queue_ttl: Seconds = Field(
        5.0, ge=0, le=LONGEST_TTL, description="seconds before an event moves to overflow; 0: no limit, no overflow"
    )
    overflow_max_bytes: Size = Field(4 * 2**30, ge=1, description="bound of the overflow queue and of the live queue")
    rejected_max_bytes: Size = Field(256 * 2**20, ge=1, description="bound of the parking queue")
    shards: int = Field(1, ge=1, description="live queues; not available yet")
    ordered: bool = Field(False, description="strict order; not available yet")
    prefetch: int = Field(2000, ge=1, le=65535, description="messages a replica may hold unconfirmed")
    max_inflight_bytes: Size = Field(16 * 2**20, ge=64 * 1024, description="bytes a replica may hold unconfirmed")
    max_message_bytes: Size = Field(16 * 2**20, ge=1024, description="a larger message is parked")
    event_types: Annotated[tuple[str, ...], BeforeValidator(patterns)] = Field(
        ("*",), description="which events are forwarded, e.g. task-*,!worker-heartbeat"
    )
    redact: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        (), description="fields to blank; not available yet"
    )
    sink: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        ("sqlite",), description="kafka, redis, sqlite, stdout, or several: kafka,redis"
    )
    config: Path | None = Field(None, description="TOML file of these settings; variables win over it")
    retry_max_interval: Seconds = Field(10.0, gt=0, description="seconds that retries back off to at most")
    let_go_after: Seconds = Field(30.0, gt=0, description="seconds of sink outage until messages in hand go back")
    shutdown_timeout: Seconds = Field(25.0, ge=0, description="seconds to confirm what is in hand when stopped")
    http: Annotated[tuple[str, int] | None, BeforeValidator(address)] = Field(
        ("127.0.0.1", 9810), description="address of health and metrics, or off"
    )
    log_format: Literal["console", "json"] | None = Field(
        None, description="format of the log; by default console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @property
    def broker_urls(self) -> tuple[str, ...]:
        """The URLs to try in turn."""
        return tuple(url.strip() for url in self.broker_url.split(";") if url.strip())

    @field_validator("broker_url")
    @classmethod
    def _a_broker_that_we_can_serve(cls, value: str) -> str:
        urls = [url.strip() for url in value.split(";") if url.strip()]
        if not urls:
            raise ValueError("expected a URL such as amqp://user:password@host:5672/vhost")
        for url in urls:
            try:
                scheme = urlsplit(url).scheme
            except ValueError:  # whose text may repeat the password
                raise ValueError("not a URL: the host is wrong; an IPv6 address is [::1]") from None
            transport = scheme.partition("+")[0]
            if transport in NO_EVENTS:
                raise ValueError(f"Celery's events cannot travel over {transport}: it has no fan-out")
            if scheme in AMQP and url[len(scheme) :].startswith("://"):
                _check_parts(url)
            elif transport in ("redis", "rediss", "sentinel", "filesystem", "mongodb", "memory", "valkey"):
                raise ValueError(f"a broker of the kind {transport}:// is not available yet, only amqp:// and amqps://")
            else:
                raise ValueError("expected amqp://user:password@host:5672/vhost or amqps://...")
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

    @field_validator("shards", "ordered", "redact")
    @classmethod
    def _served_by_a_later_version(cls, value: Any) -> Any:
        if value is True or (value is not False and value not in (1, ())):
            raise ValueError("not available yet")
        return value

    @field_validator("log_level", "log_format", "queue_type", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _tls_where_it_can_be(self) -> Settings:
        given = [self.broker_tls_ca, self.broker_tls_cert, self.broker_tls_key]
        if (any(given) or not self.broker_tls_verify) and not any(url.startswith("amqps:") for url in self.broker_urls):
            raise ValueError("BRIDGE_BROKER_TLS_*: only used with amqps://, but BRIDGE_BROKER_URL says amqp://")
        if bool(self.broker_tls_cert) != bool(self.broker_tls_key):
            raise ValueError("BRIDGE_BROKER_TLS_CERT and BRIDGE_BROKER_TLS_KEY: give both or neither")
        return self


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
    parts = urlsplit(url)
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
