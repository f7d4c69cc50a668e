"""A user of Kafka who may do nothing at first: each right that is missing is named."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import deliver, sample_events
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.bridges import Bridge
from tests.support.kafka_sinks import DEADLINE, await_stored, make_topic, outcomes, records, sink, topic_of
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka
from tests.support.servers.kafka_acl import allow, deny_all
from tests.support.starts import publish

USER, PASSWORD = "bridge", "open-sesame"


@pytest.fixture(scope="module")
def secured() -> Iterator[NativeKafka]:
    """A node where one user has to log in, and may do nothing at first."""
    server = NativeKafka(users={USER: PASSWORD})
    try:
        server.start()
        yield server
    finally:
        server.remove()


class TestPermissions:
    """A user who may do nothing at first."""

    def settings(self, server: NativeKafka, **more: str) -> dict[str, str]:
        return {
            "bootstrap_servers": server.sasl_bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": USER,
            "sasl_password": PASSWORD,
            **more,
        }

    def test_a_wrong_password(self, secured: NativeKafka) -> None:
        """The reason is the server's, with the settings to look at, and no password is in it."""
        subject = sink(secured, **self.settings(secured, sasl_password="wrong-sesame"))
        subject.open()
        self.refuses(subject, "_AUTHENTICATION: ")
        self.refuses(subject, "check BRIDGE_KAFKA_SASL_USERNAME and BRIDGE_KAFKA_SASL_PASSWORD")
        with pytest.raises(SinkUnavailable) as failure:
            subject.available()
        assert "sesame" not in str(failure.value)
        subject.close()

    def test_no_right_to_the_topic(self, secured: NativeKafka) -> None:
        """Neither to see it, nor to make it, nor to write: one line each, and once allowed it works."""
        subject = sink(secured, **self.settings(secured))
        name = topic_of(subject)
        subject.open()
        self.refuses(subject, "grant DESCRIBE on it to this user")
        allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE)
        self.refuses(subject, "could not be made: TOPIC_AUTHORIZATION_FAILED")
        self.refuses(subject, "grant CREATE on it to this user")
        allow(secured.bootstrap, USER, name, AclOperation.CREATE)
        self.refuses(subject, "no permission to write")
        allow(secured.bootstrap, USER, name, AclOperation.WRITE)
        until(lambda: subject.available() is None, 20, "it is available")
        await_stored(subject, sample_events(3))
        subject.close()

    def refuses(self, subject: KafkaSink, reason: str) -> None:
        def says() -> bool:
            try:
                subject.available()
            except SinkUnavailable as exc:
                return reason in str(exc) and "\n" not in str(exc)
            return False

        until(says, 20, f"it says {reason!r}")

    def test_the_right_to_write_is_withdrawn(self, secured: NativeKafka) -> None:
        """Events come back with the reason, and are stored once it is given again."""
        subject = sink(secured, **self.settings(secured))
        name = topic_of(subject)
        allow(secured.bootstrap, USER, name, AclOperation.CREATE, AclOperation.DESCRIBE, AclOperation.WRITE)
        subject.open()
        until(lambda: subject.available() is None, 20, "it is available")
        deliver(subject, sample_events(3), DEADLINE)
        deny_all(secured.bootstrap, name)
        found = outcomes(deliver(subject, sample_events(3), DEADLINE))
        assert [Outcome.RETRY] == list(found)
        allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE, AclOperation.WRITE)
        await_stored(subject, found[Outcome.RETRY])
        assert 6 == len(records(secured, subject))
        subject.close()

    def test_a_fatal_error_makes_a_new_producer(self, secured: NativeKafka) -> None:
        """A producer that may write nowhere gets no id, which librdkafka takes for fatal: the next one works."""
        name = f"events-{uuid.uuid4().hex[:8]}"
        make_topic(secured, name)
        subject = sink(secured, **self.settings(secured, topic=name))
        subject.open()
        events = sample_events(3)
        decided = deliver(subject, events, DEADLINE)
        assert {Outcome.RETRY: events} == outcomes(decided)
        assert f"grant WRITE on topic {name!r} to this user" in decided[0].reason
        allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE, AclOperation.WRITE)
        # Another producer may have been refused in the meantime: that one is replaced in its turn.
        await_stored(subject, events)
        subject.close()

    def test_fatal_errors_one_after_the_other(self, secured: NativeKafka) -> None:
        """Each new producer is refused its id as well: whatever call learns of it, no exception gets out."""
        name = f"events-{uuid.uuid4().hex[:8]}"
        make_topic(secured, name)
        subject = sink(secured, **self.settings(secured, topic=name))
        subject.open()
        events = sample_events(3)
        subject.send(events)
        refused: list[str] = []
        stored: list[Event] = []

        def turn() -> None:
            for verdict in subject.verdicts(0.01):
                if verdict.outcome is Outcome.STORED:
                    stored.extend(verdict.events)
                    continue
                refused.append(verdict.reason)
                subject.send(verdict.events)
            with suppress(SinkUnavailable):
                subject.available()

        def refused_thrice() -> bool:
            turn()
            return sum("FATAL" in reason or "AUTHORIZATION" in reason for reason in refused) >= 3

        def all_stored() -> bool:
            turn()
            return len(stored) == len(events)

        def asked_often() -> bool:
            try:
                subject.available()
            except SinkUnavailable:
                pass
            else:
                return False  # a node may not know of the rights yet
            asked.append(time.monotonic())
            return len(asked) >= 20 and asked[-1] - asked[0] > 2

        asked: list[float] = []
        until(asked_often, 20, "it is asked again and again while a producer is refused")
        until(refused_thrice, 20, "three producers were refused")
        allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE, AclOperation.WRITE)
        until(all_stored, 20, "all is stored")
        subject.close()


class TestReaders:
    """Refusals of a reader: said by the right, the topic or group and the setting, at once and nothing else."""

    @pytest.fixture
    def topic(self, secured: NativeKafka) -> str:
        """One with a record in it, that the user may do nothing with."""
        name = f"read-{uuid.uuid4().hex[:8]}"
        make_topic(secured, name)
        producer = Producer({"bootstrap.servers": secured.bootstrap})
        producer.produce(name, b"{}")
        assert 0 == producer.flush(10)
        return name

    def settings(self, server: NativeKafka, topic: str, **more: str) -> dict[str, str]:
        return {
            "BRIDGE_SINK": "kafka",
            "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.sasl_bootstrap,
            "BRIDGE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "BRIDGE_KAFKA_SASL_MECHANISM": "PLAIN",
            "BRIDGE_KAFKA_SASL_USERNAME": USER,
            "BRIDGE_KAFKA_SASL_PASSWORD": PASSWORD,
            "BRIDGE_KAFKA_TOPIC": topic,
            **more,
        }

    def refusal(self, settings: dict[str, str], group: str | None = None) -> str:
        """What a reader gives up with that would wait for an hour in an outage."""
        with (
            pytest.raises(SinkUnavailable) as failure,
            open_reader(group=group, environ=settings, follow=False, give_up_after=3600.0) as reader,
        ):
            next(reader)
        return str(failure.value)

    def says(self, settings: dict[str, str], text: str, group: str | None = None) -> bool:
        """A node may know of a right some time after it was given."""
        return text in self.refusal(settings, group)

    def test_each_right_that_a_reader_lacks_is_named(
        self, secured: NativeKafka, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Of the topic and of the group; and nothing is said to be available again that never was."""
        caplog.set_level(logging.INFO)
        given = self.settings(secured, topic)
        assert f"topic {topic!r}: " in self.refusal(given)
        assert self.says(given, "grant DESCRIBE on it to this user")
        allow(secured.bootstrap, USER, topic, AclOperation.DESCRIBE)
        until(lambda: self.says(given, "grant READ on it to this user"), 20, "it asks for READ")
        allow(secured.bootstrap, USER, topic, AclOperation.READ)

        def is_refused_the_group() -> bool:
            return self.says(given, "grant READ on the group to this user", "backup")

        until(is_refused_the_group, 20, "it asks for READ on the group")
        assert self.refusal(given, "backup").startswith("group 'backup': ")
        with open_reader(environ=given, follow=False, give_up_after=10.0) as reader:
            assert 1 == len([*reader])
        allow(secured.bootstrap, USER, "backup", AclOperation.READ, of=ResourceType.GROUP)

        def reads() -> bool:
            with open_reader(group="backup", environ=given, follow=False, give_up_after=3600.0) as reader:
                return len([*reader]) == 1

        until(reads, 20, "it reads as a member of the group")
        assert [] == [one.getMessage() for one in caplog.records if "available again" in one.getMessage()]

    def test_a_login_that_is_refused_names_its_settings(self, secured: NativeKafka, topic: str) -> None:
        """Of a password, a mechanism, a port for logins without one and the other way round."""
        wrong = self.refusal(self.settings(secured, topic, BRIDGE_KAFKA_SASL_PASSWORD="wrong-sesame"))
        assert "check BRIDGE_KAFKA_SASL_USERNAME and BRIDGE_KAFKA_SASL_PASSWORD" in wrong
        assert "sesame" not in wrong
        scram = self.settings(secured, topic, BRIDGE_KAFKA_SASL_MECHANISM="SCRAM-SHA-256")
        assert "BRIDGE_KAFKA_SASL_MECHANISM has to be PLAIN" in self.refusal(scram)
        plain = self.settings(secured, topic, BRIDGE_KAFKA_BOOTSTRAP_SERVERS=secured.bootstrap)
        assert "nobody logs in on that port: BRIDGE_KAFKA_SECURITY_PROTOCOL is PLAINTEXT there" in self.refusal(plain)

    def test_a_topic_that_is_not_there_is_said_at_once(self, secured: NativeKafka) -> None:
        """As the other streams do, for who reads for himself and for a group."""
        for group in (None, "billing"):
            given = {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": secured.bootstrap}
            said = self.refusal(given | {"BRIDGE_KAFKA_TOPIC": "nosuchtopic"}, group)
            assert f"there is no topic 'nosuchtopic' in Kafka at {secured.bootstrap} yet" in said

    def test_a_login_that_is_not_used_is_warned_of(self, secured: NativeKafka, topic: str) -> None:
        """User and password without BRIDGE_KAFKA_SECURITY_PROTOCOL log nobody in."""
        given = {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": PASSWORD}
        subject = sink(secured, topic=topic, **given)
        subject.open()
        texts = [finding.text for finding in subject.advice() if finding.verdict == "warn"]
        subject.close()
        (text,) = [one for one in texts if "BRIDGE_KAFKA_SASL_MECHANISM is set" in one]
        assert "BRIDGE_KAFKA_SECURITY_PROTOCOL=plaintext logs nobody in" in text
        assert "SASL_PLAINTEXT" in text
        assert PASSWORD not in text

    def test_a_port_for_logins_that_is_used_without_one(self, secured: NativeKafka, topic: str) -> None:
        """It closes the connection without a word: the settings that may be meant are named."""
        given = self.settings(secured, topic)
        bare = {name: text for name, text in given.items() if "SECURITY" not in name and "SASL" not in name}
        with (
            pytest.raises(SinkUnavailable) as failure,
            open_reader(environ=bare, follow=False, give_up_after=1.0) as reader,
        ):
            next(reader)
        assert "one for a login (SASL_PLAINTEXT, SASL_SSL)" in str(failure.value)


def test_a_bridge_that_may_not_write_says_so_in_its_log(
    secured: NativeKafka, start_bridge: Callable[..., Bridge], broker_url: str
) -> None:
    """By the right and the topic; nothing critical of the client's is beside it."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    make_topic(secured, name)
    allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE)
    given = TestReaders().settings(secured, name)
    bridge = start_bridge(**given, BRIDGE_BROKER_URL=broker_url)
    until(lambda: "grant WRITE on it to this user" in str(bridge.logged("sink unavailable")), 20, "it asks for WRITE")
    allow(secured.bootstrap, USER, name, AclOperation.WRITE)
    bridge.await_ready()
    deny_all(secured.bootstrap, name)
    publish(broker_url, 10)
    until(lambda: "grant" in str(bridge.logged("sink unavailable")[-1]), 20, "it asks for a right")
    assert [] == [line for line in bridge.log() if line["level"] in ("critical", "raw")]
