"""`BRIDGE_KAFKA_*`: four settings of ours, and every librdkafka property that keeps the promise."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from celery_event_bridge.contract import secret_files
from celery_event_bridge.contract.secrets import hide_in_value, hide_of, is_secret
from celery_event_bridge.contract.values import in_a_lifetime, retention_or_never
from celery_event_sinks.kafka.addresses import servers
from celery_event_sinks.kafka.properties import is_unknown, refusal_of, sasl_trouble

PROMISED = {
    "acks": "all",
    "enable.idempotence": "true",
    "partitioner": "murmur2_random",
    # Never: an outage has no end that librdkafka may set, and its five minutes would drop what is in hand.
    "message.timeout.ms": "0",
}
"""Properties that no setting changes."""
PROMISED_OF_READERS = {
    # Nothing of ours is in a transaction. By default somebody else's that is left open would hide all behind it.
    "isolation.level": "read_uncommitted",
}
"""The same, of what only a consumer has."""
ALIASES = {
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "message.send.max.retries": "retries",
}
BOUNDS = {"max.in.flight.requests.per.connection": (1, 5), "retries": (1, 2**31 - 1)}
"""Numbers that an idempotent producer takes."""
ACCEPTED = {"acks": {"all", "-1"}}
"""Other ways to say what is promised."""
REFUSED = {
    "bootstrap.servers": "it is said twice",
    "metadata.broker.list": "use BRIDGE_KAFKA_BOOTSTRAP_SERVERS",
    "delivery.report.only.error": "without the report of its delivery no event would ever be acknowledged",
    "transactional.id": "the bridge uses no transactions; each event's id tells duplicates",
    "default.topic.config": "give each of its properties by itself",
    "logger": "librdkafka's log is a part of the bridge's own: see BRIDGE_LOG_LEVEL",
    "test.mock.num.brokers": "what a mock broker stores is gone with the process",
}
DEFAULTS = {
    "client.id": "celery-event-bridge",
    # An event on its own leaves at once; batches arise from load.
    "linger.ms": "0",
    # librdkafka's own 5 makes as many small requests of what comes meanwhile, and a request is what costs Kafka.
    "max.in.flight.requests.per.connection": "2",
    # librdkafka's own 1 MB would refuse what the topic may well take: the broker decides.
    "message.max.bytes": str(64 * 2**20),
    # The topic is made by us, with the settings' partitions, and not by whoever asks for it first.
    "allow.auto.create.topics": "false",
    # librdkafka's own 10 s would keep forwarding away after a broker is back.
    "reconnect.backoff.max.ms": "1000",
    "socket.connection.setup.timeout.ms": "5000",
    # librdkafka's own 60 s are how long a request whose answer is lost would hold up all behind it. What was written
    # and is sent again after that is told apart by its sequence number, so that it costs no duplicate.
    "socket.timeout.ms": "10000",
}
"""Properties that are set unless a setting says otherwise."""


USUAL = (
    *("security_protocol", "sasl_mechanism", "sasl_mechanisms", "sasl_username", "sasl_password"),
    *("sasl_oauthbearer_method", "sasl_oauthbearer_config", "sasl_oauthbearer_client_id", "sasl_oauthbearer_scope"),
    *("sasl_oauthbearer_client_secret", "sasl_oauthbearer_token_endpoint_url", "sasl_oauthbearer_extensions"),
    *("sasl_kerberos_principal", "sasl_kerberos_keytab", "sasl_kerberos_service_name", "sasl_kerberos_kinit_cmd"),
    *("ssl_ca_location", "ssl_ca_pem", "ssl_certificate_location", "ssl_certificate_pem", "ssl_key_location"),
    *("ssl_key_pem", "ssl_key_password", "ssl_keystore_location", "ssl_keystore_password", "ssl_cipher_suites"),
    *("ssl_endpoint_identification_algorithm", "enable_ssl_certificate_verification", "client_id", "client_rack"),
    *("compression_type", "compression_level", "linger_ms", "batch_size", "batch_num_messages", "message_max_bytes"),
    *("queue_buffering_max_kbytes", "queue_buffering_max_messages", "socket_timeout_ms", "request_timeout_ms"),
    *("metadata_max_age_ms", "broker_address_family", "debug", "fetch_max_bytes", "max_poll_interval_ms"),
)
"""Properties that may have been meant by a name that librdkafka, which lists none, does not know."""
THE_BROKERS: JsonDict = {"default": "the broker's"}
"""Word for the default of what Kafka decides where no setting does."""
LONGEST_TOPIC = 249
"""Characters."""
_OF_A_LINE = ("username", "password")
"""Ends of the names of properties that are a line; others, such as a key in PEM, have several."""


def _state_of(path: str) -> Hashable:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _duration(text: str | None) -> str | None:
    in_a_lifetime(retention_or_never(text))
    return text


def _topic(text: str) -> str:
    """Refuse what Kafka takes for no name of a topic: https://kafka.apache.org, class `Topic`."""
    longest = text.replace("{group}", "worker")
    if not re.fullmatch(r"[a-zA-Z0-9._-]+", longest) or longest in (".", "..") or len(longest) > LONGEST_TOPIC:
        raise ValueError(f"expected letters, digits, . _ - and {{group}}, at most {LONGEST_TOPIC}, and not . or ..")
    return text


class KafkaSettings(BaseModel):
    """`BRIDGE_KAFKA_*`."""

    model_config = ConfigDict(frozen=True, extra="allow")
    names_stream: ClassVar = ("bootstrap_servers", "topic")
    ending_in_file: ClassVar = frozenset(
        f"sasl_oauthbearer_assertion_{name}_file" for name in ("private_key", "jwt_template")
    ) | {"sasl_oauthbearer_assertion_file"}
    """librdkafka properties that are a path themselves, and not a variable whose value is read from a file."""

    bootstrap_servers: str = Field("localhost:9092", min_length=1, description="host:port of some brokers")
    topic: Annotated[str, AfterValidator(_topic)] = Field(
        "celery-events", description="name of the topic; {group}: task, worker, other"
    )
    partitions: int | None = Field(
        None, ge=1, description="partitions of a topic that does not exist yet", json_schema_extra=THE_BROKERS
    )
    replication_factor: int | None = Field(
        None, ge=1, le=32767, description="replicas of a topic that does not exist yet", json_schema_extra=THE_BROKERS
    )
    retention: Annotated[str | None, AfterValidator(_duration)] = Field(
        None, description="retention of a topic that does not exist yet: 7d, or never", json_schema_extra=THE_BROKERS
    )

    @classmethod
    def knows(cls, name: str) -> bool:
        """Return whether there is a setting, or a property of librdkafka's, of this name."""
        given = name.replace("_", ".")
        own = name in cls.model_fields or name in cls.ending_in_file
        return own or not is_unknown(refusal_of({given: "1"}, given))

    @property
    def topics(self) -> Mapping[str, str]:
        """The topic of each group of event types."""
        return {group: self.topic.replace("{group}", group) for group in ("task", "worker", "other")}

    def retention_ms(self) -> int | None:
        """Return it as a topic's configuration has it: -1 for never; None leaves it to the broker."""
        if self.retention is None:
            return None
        seconds = retention_or_never(self.retention)
        return -1 if seconds is None else round(seconds * 1000)

    def fresh(self) -> KafkaSettings:
        """Return the same settings, with what came from a file read again."""
        given = {"bootstrap_servers": self.bootstrap_servers, **(self.model_extra or {})}
        fresh = {name: secret_files.fresh(str(value), f"BRIDGE_KAFKA_{name.upper()}") for name, value in given.items()}
        found = {name: text for name, text in fresh.items() if text != given[name]}
        return self.model_copy(update=found) if found else self

    def credentials(self) -> Hashable:
        """Return what a login is made with now: another value once a certificate or a secret's file has changed."""
        files = [str(path) for name, path in (self.model_extra or {}).items() if name.endswith("_location")]
        return (self.fresh().model_dump_json(), *map(_state_of, files))

    def properties(self) -> dict[str, str]:
        """Return what librdkafka is configured with."""
        own = {name.replace("_", "."): str(text) for name, text in (self.model_extra or {}).items()}
        return DEFAULTS | own | PROMISED | {"bootstrap.servers": self.bootstrap_servers}

    @model_validator(mode="after")
    def _properties_that_keep_the_promise(self) -> KafkaSettings:
        try:
            servers(self.bootstrap_servers, "host:9092,host2:9092")
        except ValueError as exc:  # the value is not shown, as it is where a field's own validator refuses it
            raise ValueError(f"BRIDGE_KAFKA_BOOTSTRAP_SERVERS: {exc}") from None
        lines = [line for name, text in (self.model_extra or {}).items() if (line := self._trouble_of(name, text))]
        if line := "" if lines else sasl_trouble(self.properties()):
            lines.append(line)
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def refusal(self, text: str) -> str:
        """Return a line for what librdkafka says of properties that it does not take together, by the variable."""
        own: dict[str, str] = self.model_extra or {}
        said = text.removeprefix("Failed to create producer: ").removeprefix("Failed to create consumer: ").strip()
        name = next((name for name in sorted(own, key=len, reverse=True) if name.replace("_", ".") in said), None)
        if name is None:
            return f"BRIDGE_KAFKA_*: {said}"
        return _line(name, own[name], hide_of(said, own[name], of=f"BRIDGE_KAFKA_{name}"))

    def _trouble_of(self, name: str, text: str) -> str:
        """Return a line about a property that cannot be had, or would break the promise; else an empty text."""
        if name.endswith(_OF_A_LINE) and re.search(r"[\r\n]", text):
            return _line(name, text, "expected one line")
        given = name.replace("_", ".")
        wanted = ALIASES.get(given, given)
        if given in REFUSED or given.startswith("test.mock."):
            return _line(name, text, f"not possible: {REFUSED.get(given, 'it is for tests')}")
        promised = (PROMISED | PROMISED_OF_READERS).get(wanted)
        if promised is not None and text.lower() not in ACCEPTED.get(wanted, {promised}):
            return _line(name, text, f"would break the promise; {wanted} is {promised}")
        refusal = refusal_of(self.properties() | {given: text}, given)
        if is_unknown(refusal):
            near = difflib.get_close_matches(name, (*type(self).model_fields, *USUAL), n=1, cutoff=0.75)
            hint = f"did you mean BRIDGE_KAFKA_{near[0].upper()}?" if near else "whose dots are written as _"
            # Without the value: nobody knows what an unknown one holds, and a mistyped password's is one.
            return f"BRIDGE_KAFKA_{name.upper()}: neither a setting nor a librdkafka property, {hint}"
        if not refusal and wanted in BOUNDS and not BOUNDS[wanted][0] <= int(text) <= BOUNDS[wanted][1]:
            least, most = BOUNDS[wanted]
            refusal = f"would break the promise; an idempotent producer takes {least} to {most}"
        return _line(name, text, hide_of(refusal, text, of=f"BRIDGE_KAFKA_{name}")) if refusal else ""


def _line(name: str, text: str, message: str) -> str:
    shown = "**" if is_secret(name) else hide_in_value(text)
    return f"BRIDGE_KAFKA_{name.upper()}={shown}: {message}"
