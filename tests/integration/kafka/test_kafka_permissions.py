"""A user of Kafka who may do nothing at first: each right that is missing is named."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka.admin import AclOperation

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable
from celery_event_bridge.testing import deliver, sample_events
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.kafka_sinks import DEADLINE, await_stored, make_topic, outcomes, records, sink, topic_of
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka
from tests.support.servers.kafka_acl import allow, deny_all

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
        """The reason is the server's, and no password is in it."""
        subject = sink(secured, **self.settings(secured, sasl_password="wrong-sesame"))
        subject.open()
        with pytest.raises(SinkUnavailable, match="_AUTHENTICATION") as failure:
            subject.available()
        assert "sesame" not in str(failure.value)
        subject.close()

    def test_no_right_to_the_topic(self, secured: NativeKafka) -> None:
        """Neither to see it, nor to make it, nor to write: one line each, and once allowed it works."""
        subject = sink(secured, **self.settings(secured))
        name = topic_of(subject)
        subject.open()
        self.refuses(subject, "TOPIC_AUTHORIZATION_FAILED")
        allow(secured.bootstrap, USER, name, AclOperation.DESCRIBE)
        self.refuses(subject, "could not be made")
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
        assert "FATAL" in decided[0].reason or "AUTHORIZATION" in decided[0].reason
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
