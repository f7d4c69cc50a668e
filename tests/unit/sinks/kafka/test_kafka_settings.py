"""`BRIDGE_KAFKA_*`: what is passed on to librdkafka, what is refused, and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from celery_event_bridge.config.loading import load
from celery_event_sinks.kafka.settings import USUAL
from tests.support.kafka_settings import error, kafka


def test_defaults_keep_the_promise() -> None:
    """Idempotent, acks=all, no message is given up, keys go where Java's clients would put them."""
    properties = kafka().properties()
    assert {
        "acks": "all",
        "enable.idempotence": "true",
        "message.timeout.ms": "0",
        "partitioner": "murmur2_random",
        "bootstrap.servers": "localhost:9092",
    }.items() <= properties.items()


def test_defaults_wait_for_no_lost_answer() -> None:
    """Librdkafka's own minute would hold a replica up for four times as long as it may take to consume again."""
    assert int(kafka().properties()["socket.timeout.ms"]) < 15_000


def test_any_other_variable_is_a_property() -> None:
    """`_` for `.`, and it wins over our defaults."""
    properties = kafka(LINGER_MS="20", COMPRESSION_TYPE="zstd", SECURITY_PROTOCOL="SSL").properties()
    assert {"linger.ms": "20", "compression.type": "zstd", "security.protocol": "SSL"}.items() <= properties.items()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ACKS", "1"),
        ("ACKS", "0"),
        ("REQUEST_REQUIRED_ACKS", "1"),
        ("ENABLE_IDEMPOTENCE", "false"),
        ("MESSAGE_TIMEOUT_MS", "300000"),
        ("DELIVERY_TIMEOUT_MS", "1"),
        ("PARTITIONER", "random"),
        ("ISOLATION_LEVEL", "read_committed"),
    ],
)
def test_what_would_break_the_promise_is_refused(name: str, text: str) -> None:
    """One line that names the variable, its value, and what holds instead."""
    line = error(**{name: text})
    assert line.startswith(f"BRIDGE_KAFKA_{name}={text}: would break the promise; ")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "text"), [("ACKS", "all"), ("ACKS", "-1"), ("ENABLE_IDEMPOTENCE", "true"), ("MESSAGE_TIMEOUT_MS", "0")]
)
def test_saying_what_is_promised_anyway_is_no_error(name: str, text: str) -> None:
    """As configurations copied from elsewhere do."""
    assert kafka(**{name: text}).properties()["acks"] == "all"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DELIVERY_REPORT_ONLY_ERROR", "acknowledged"),
        ("TRANSACTIONAL_ID", "no transactions"),
        ("METADATA_BROKER_LIST", "BRIDGE_KAFKA_BOOTSTRAP_SERVERS"),
        ("TEST_MOCK_NUM_BROKERS", "gone with the process"),
        ("TEST_MOCK_BROKER_RTT", "for tests"),
    ],
)
def test_what_makes_no_sense_here_is_refused(name: str, hint: str) -> None:
    """One line that says why, or what to use."""
    line = error(**{name: "true"})
    assert line.startswith(f"BRIDGE_KAFKA_{name}=true: not possible: ")
    assert hint in line


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("LINGER_MS", "soon", "Invalid value"),
        ("MAX_IN_FLIGHT", "9", "an idempotent producer takes 1 to 5"),
        ("RETRIES", "0", "an idempotent producer takes 1 to"),
        ("LINGER_MS", "-1", "outside allowed range"),
        ("DEFAULT_TOPIC_CONFIG", "x", "by itself"),
        ("LOGGER", "x", "BRIDGE_LOG_LEVEL"),
        ("SECURITY_PROTOCOL", "telepathy", "Invalid value"),
        ("PARTITIONS", "0", "expected at least 1"),
        ("REPLICATION_FACTOR", "x", "expected a whole number"),
        ("RETENTION", "long", "or never"),
        ("TOPIC", "a b", "letters, digits"),
        ("TOPIC", "é", "letters, digits"),
        ("TOPIC", "..", "not . or .."),
        ("TOPIC", "a" * 250, "at most 249"),
        ("TOPIC", "a" * 244 + "{group}", "at most 249"),
    ],
)
def test_what_librdkafka_would_not_take(name: str, text: str, wanted: str) -> None:
    """One line with the variable, the value, and what is wrong."""
    line = error(**{name: text})
    assert line.startswith(f"BRIDGE_KAFKA_{name}={text}: ")
    assert wanted in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FOO_BAR", "whose dots are written as _"),
        ("PARTITION", "did you mean BRIDGE_KAFKA_PARTITIONS?"),
        ("SASL_PASWORD", "did you mean BRIDGE_KAFKA_SASL_PASSWORD?"),
        ("SASL_PASSWORD2", "did you mean BRIDGE_KAFKA_SASL_PASSWORD?"),
        ("SSL_KEY_PASWORD", "did you mean BRIDGE_KAFKA_SSL_KEY_PASSWORD?"),
        ("SASL_USER", "did you mean BRIDGE_KAFKA_SASL_USERNAME?"),
    ],
)
def test_an_unknown_name_is_told_without_its_value(name: str, hint: str) -> None:
    """Whatever the value is, since a password's name may be the one that is mistyped."""
    wanted = f"BRIDGE_KAFKA_{name}: neither a setting nor a librdkafka property, {hint}"
    assert wanted == error(**{"SASL_PASSWORD": "right", name: "open-sesame"})


def test_what_may_have_been_meant_is_a_property() -> None:
    """Librdkafka knows each name that is proposed."""
    for name in USUAL:
        assert "No such configuration property" not in _refusal(name), name


def _refusal(name: str) -> str:
    try:
        Producer({"log_level": 0, name.replace("_", "."): "?"})
    except KafkaException as exc:
        return str(exc.args[0].str())
    return ""


@pytest.mark.parametrize(
    "addresses", ["user:sesame@127.0.0.1:1", "h:9092,u:sesame@h:1", "SASL_SSL://u:sesame@h:1", "sesame@h", "@"]
)
def test_a_login_among_the_addresses_is_refused(addresses: str) -> None:
    """As it is in a URL: user and password are settings of their own, and nothing of them is shown."""
    line = error(BOOTSTRAP_SERVERS=addresses)
    assert line.startswith("BRIDGE_KAFKA_BOOTSTRAP_SERVERS: user and password are settings: BRIDGE_KAFKA_SASL_USERNAME")
    assert "sesame" not in line


@pytest.mark.parametrize(
    "addresses", ["user:sesame", "h:1,user:sesame", "kafka://sesame", "h/sesame", ",", "h:1 h:sesame"]
)
def test_what_is_no_address_is_refused_without_it(addresses: str) -> None:
    """Since it may be a login whose @ was forgotten."""
    assert error(BOOTSTRAP_SERVERS=addresses) == "BRIDGE_KAFKA_BOOTSTRAP_SERVERS: expected host:9092,host2:9092"


@pytest.mark.parametrize("addresses", ["h", "h:1, my_host-2.x:9092,", "[::1]:9092", "SSL://h:1,plaintext://h:2"])
def test_addresses_as_librdkafka_takes_them(addresses: str) -> None:
    """With and without a port, in brackets, with a protocol."""
    assert addresses == kafka(BOOTSTRAP_SERVERS=addresses).bootstrap_servers


def test_a_password_is_a_line() -> None:
    """A file with a second one was put together wrongly; a key in PEM has several."""
    assert error(SASL_PASSWORD="open\nsesame") == "BRIDGE_KAFKA_SASL_PASSWORD=**: expected one line"
    assert error(SASL_USERNAME="u\r\nv").endswith(": expected one line")


def test_sasl_without_a_mechanism() -> None:
    """Librdkafka's default cannot be had; the line says what to set."""
    assert error(SECURITY_PROTOCOL="SASL_SSL").startswith("BRIDGE_KAFKA_SASL_MECHANISM: set it to PLAIN, ")


@pytest.mark.parametrize("name", ["SSL_KEY_PEM", "SSL_KEY_PASSWORD", "SASL_PASSWORD", "SASL_OAUTHBEARER_CONFIG"])
def test_a_secret_is_in_no_error(name: str) -> None:
    """Neither its own nor another setting's error shows it."""
    assert "sesame" not in error(**{name: "open-sesame", "LINGER_MS": "soon"})


def test_a_secret_is_not_shown() -> None:
    """`check` prints asterisks for it."""
    variables = {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_SASL_PASSWORD": "open-sesame"}
    assert "**" == load(variables).effective()["BRIDGE_KAFKA_SASL_PASSWORD"]


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    """`_FILE` holds for properties too."""
    file = tmp_path / "password"
    file.write_text("open-sesame\n")
    assert "open-sesame" == kafka(SASL_PASSWORD_FILE=str(file)).properties()["sasl.password"]


def test_a_property_that_is_a_file_itself_is_passed_on(tmp_path: Path) -> None:
    """Where librdkafka has a property ending in `.file`, the path is its value."""
    name = "SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE"
    path = tmp_path / "key.pem"
    path.write_text("not read")
    assert str(path) == kafka(**{name: str(path)}).properties()[name.lower().replace("_", ".")]


@pytest.mark.parametrize(
    ("text", "wanted"), [(None, None), ("never", -1), ("7d", 604_800_000), ("0.5s", 500), ("30s", 30_000)]
)
def test_retention(text: str | None, wanted: int | None) -> None:
    """In milliseconds for the topic; unset leaves it to the broker."""
    assert wanted == kafka(**({} if text is None else {"RETENTION": text})).retention_ms()


def test_unset_settings_of_the_topic_are_the_brokers() -> None:
    """`check` does not claim a value for them."""
    shown = load({"BRIDGE_SINK": "kafka"}).effective()
    names = ("PARTITIONS", "REPLICATION_FACTOR", "RETENTION")
    assert {"unset"} == {shown[f"BRIDGE_KAFKA_{name}"] for name in names}


def test_a_topic_for_each_group() -> None:
    """`{group}` is task, worker or other."""
    topics = kafka(TOPIC="celery.{group}.events").topics
    assert {"task": "celery.task.events", "worker": "celery.worker.events", "other": "celery.other.events"} == topics


def test_what_kubernetes_injects_is_passed_over() -> None:
    """For a Service called `bridge-kafka`."""
    properties = kafka(PORT="tcp://10.0.0.1:9092", SERVICE_HOST="10.0.0.1", PORT_9092_TCP_ADDR="10.0.0.1").properties()
    assert not [name for name in properties if name.startswith(("port", "service"))]
