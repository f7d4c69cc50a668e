"""Questions to the cluster, and the making of a topic: a client that is kept until a question fails.

A client that is collected as garbage is so in whatever thread the collector runs; where that is librdkafka's own, the
process is ended. So no frame may keep one, as a traceback keeps its frames; and whoever has one closes it, for a cycle
may keep its owner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from celery_event_bridge.contract import SinkUnavailable, StreamRefused
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.kafka.causes import Causes
from celery_event_sinks.kafka.errors import DENIED, reason_of
from celery_event_sinks.kafka.marks import Position, position
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.state import Config, State

ANSWER = 3.0
"""Seconds for one question to the cluster; the loop stands still meanwhile."""
ROUNDS = 3
"""Questions in turn, each as long as it may be, for which a whole call has the time: topics, brokers, their ends."""
HEARD = 0.2
"""Seconds between two looks at what the client tells of its connections, while an answer is waited for."""
MOST_GROUPS = 1000
"""Groups whose positions are asked for at most, each by a question of its own."""
DEFAULT_REPLICAS, DEFAULT_PARTITIONS = "default.replication.factor", "num.partitions"
AWAY = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})


class Denied(StreamRefused):
    """A right to one topic is missing."""


class Cluster:
    """The cluster that the settings name. Each method raises SinkUnavailable."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None
        self._causes = Causes(settings)
        self._whole: Deadline | None = None

    @contextmanager
    def within(self) -> Iterator[None]:
        """Give all that is asked here one deadline: a cluster may leave each of many questions without an answer."""
        self._whole = Deadline(ROUNDS * ANSWER)
        try:
            yield
        finally:
            self._whole = None

    def renew(self, settings: KafkaSettings | None = None) -> None:
        """Ask by a new connection next time: names are resolved, and certificates read, again."""
        self._settings = settings or self._settings
        self._admin = None

    def close(self) -> None:
        """Let go of the client, in this thread; one that asks afterwards gets another."""
        self._admin = None

    def state(self, names: Sequence[str]) -> State:
        """Ask for these topics, their properties and the brokers."""
        topics = self._asked_for(names)
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        # No frame may have the client: with a traceback it would outlive its last question.
        configs = self._client().describe_configs(resources, request_timeout=self._left(ANSWER))
        found, denied = dict[str, TopicDescription | None](), dict[str, str]()
        for name, future in topics.items():
            try:
                found[name] = self._topic(name, future)
            except Denied as exc:
                if len(names) == 1:
                    raise
                denied[name] = str(exc)
        known = {resource.name: config for resource, future in configs.items() if (config := self._config(future))}
        described = self._described(names)
        return State(found, denied, known, str(described.cluster_id), [*described.brokers])

    def topics(self, names: Sequence[str]) -> Mapping[str, TopicDescription | None]:
        """Return what is known of these topics; None for one that does not exist."""
        return {name: self._topic(name, future) for name, future in self._asked_for(names).items()}

    def bounds(self, topics: Mapping[str, TopicDescription | None]) -> dict[tuple[str, int], tuple[int, int]]:
        """Return the first offset of each partition, and the next one; not of one that cannot say now."""
        asked = [
            TopicPartition(name, partition.id)
            for name, topic in topics.items()
            if topic is not None
            for partition in topic.partitions
        ]
        first, last = (
            self._client().list_offsets(dict.fromkeys(asked, spec), request_timeout=self._left(ANSWER))
            for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
        )
        found = {one: (self._offset(first[one]), self._offset(last[one])) for one in asked}
        return {
            (one.topic, one.partition): (begin, end)
            for one, (begin, end) in found.items()
            if begin is not None and end is not None
        }

    def _offset(self, future: Any) -> int | None:
        """Return an offset; None where the leader does not say it, as of a topic that is just being made or deleted:
        an error, or librdkafka's -1001.
        """
        try:
            offset = int(future.result(self._left(2 * ANSWER)).offset)
            return offset if offset >= 0 else None
        except KafkaException:
            return None
        except TimeoutError as exc:
            raise self._unanswered() from exc

    def positions(self, names: Collection[str]) -> dict[str, dict[tuple[str, int], Position]]:
        """Return, by group, what readers of ours have committed in these topics; not of groups that we may not see."""
        listed = self._answer(self._client().list_consumer_groups(request_timeout=ANSWER)).valid
        asked = {
            name: self._client().list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name)], request_timeout=ANSWER
            )[name]
            for name in [one.group_id for one in listed][:MOST_GROUPS]
        }
        found = {}
        for group, future in asked.items():
            try:
                partitions = future.result(2 * ANSWER).topic_partitions or ()
            except (KafkaException, TimeoutError):
                continue
            all_of_it = {(one.topic, one.partition): position(one.offset, one.metadata) for one in partitions}
            if ours := {one: at for one, at in all_of_it.items() if one[0] in names and at.mark is not None}:
                found[group] = ours
        return found

    def refuses_group(self, group: str) -> bool:
        """Return whether this user may not read as a member of a group; False where nobody can tell."""
        options = {"include_authorized_operations": True, "request_timeout": ANSWER}
        try:
            found = self._result(self._client().describe_consumer_groups([group], **options)[group])
        except KafkaException as exc:
            return bool(exc.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED)
        except TimeoutError:
            return False
        return bool(found.authorized_operations) and AclOperation.READ not in found.authorized_operations

    def id(self, names: Sequence[str]) -> str:
        """Return the cluster's own id; it is asked about these topics too."""
        self.topics(names)  # this tells of a login that is refused at once; the next question waits for its time
        return str(self._described(names).cluster_id)

    def default_of(self, broker: int, what: str) -> int | None:
        """Return how many replicas, or partitions, a topic gets if nobody says; None where we may not ask."""
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        asked = self._client().describe_configs([resource], request_timeout=self._left(ANSWER))
        config = self._config(asked[resource])
        entry = (config or {}).get(what)
        return None if entry is None or not entry.value else int(entry.value)

    def make(self, topic: NewTopic, *, only_ask: bool = False) -> bool:
        """Make it, or ask whether it could be made; False where somebody else was faster."""
        left = self._left(ANSWER)
        options = {"operation_timeout": left, "request_timeout": left, "validate_only": only_ask}
        (future,) = self._client().create_topics([topic], **options).values()
        try:
            future.result(self._left(2 * ANSWER))
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            error = reason_of(exc.args[0], "CREATE", "it")
            raise SinkUnavailable(f"topic {topic.topic!r} does not exist, and could not be made: {error}") from exc
        except TimeoutError as exc:
            raise self._unanswered() from exc
        return True

    def _described(self, names: Sequence[str]) -> ClusterMetadata:
        """Return the cluster's id and brokers, of which there is one at least.

        By a question about a topic: librdkafka 2.16 ends the process where DescribeCluster is answered with no broker,
        as a broker does that is just starting or leaving (`rd_kafka_DescribeClusterResponse_parse` returns no error
        and no result, and `rd_kafka_admin_response_parse` asserts one).
        """
        try:
            described = self._client().list_topics(names[0], timeout=self._left(ANSWER))
        except KafkaException as exc:
            raise self._unanswered() from exc
        self._hear()
        self._causes.answered()
        if not described.brokers:
            where = self._settings.bootstrap_servers
            raise SinkUnavailable(f"Kafka at {where} answers, and has no broker that is ready: wait, or look at it")
        return described

    def _asked_for(self, names: Sequence[str]) -> Mapping[str, Any]:
        options = {"include_authorized_operations": True, "request_timeout": self._left(ANSWER)}
        asked: Mapping[str, Any] = self._client().describe_topics(TopicCollection([*names]), **options)
        return asked

    def _topic(self, name: str, future: Any) -> TopicDescription | None:
        try:
            topic: TopicDescription = self._answer(future, name)
        except LookupError:
            return None
        return topic

    def _config(self, future: Any) -> Config | None:
        try:
            config: Config = future.result(self._left(2 * ANSWER))
        except (KafkaException, TimeoutError):
            return None  # the client stays: what else it was asked may be answered yet
        return config

    def _answer(self, future: Any, name: str = "") -> Any:
        """Wait for it. Raises LookupError where there is no such topic."""
        try:
            answer = self._result(future)
        except KafkaException as exc:
            error = exc.args[0]
            if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise LookupError(name) from exc
            if error.code() in AWAY:
                raise self._unanswered() from exc
            about, right = (f"topic {name!r}: ", "DESCRIBE") if name else ("", "")
            text = about + reason_of(error, right, "it")
            if error.code() in DENIED:
                raise (Denied if name else StreamRefused)(text) from exc
            self._admin = None
            raise SinkUnavailable(text) from exc
        except TimeoutError as exc:
            raise self._unanswered() from exc
        self._hear()
        self._causes.answered()
        return answer

    def _unanswered(self) -> SinkUnavailable:
        """Give the client up, which may not even have said that nothing came: this process was stopped, say."""
        self._hear()
        self._admin = None
        refused = StreamRefused if self._causes.refuses else SinkUnavailable
        return refused(self._causes.reason())

    def _result(self, future: Any) -> Any:
        """Wait for it; not until it is too late, where the client tells meanwhile that it is not let in."""
        deadline = Deadline(self._left(2 * ANSWER))
        while True:
            try:
                return future.result(min(HEARD, deadline.left()))
            except TimeoutError:
                self._hear()
                if deadline.passed or self._causes.refuses:
                    raise

    def _left(self, seconds: float) -> float:
        """Return so many seconds, or those that are left of the whole call."""
        return seconds if self._whole is None else min(seconds, self._whole.left())

    def _hear(self) -> None:
        """Let the client tell what has happened to its connections."""
        if self._admin is not None:
            with suppress(KafkaException):
                self._admin.poll(0)

    def _client(self) -> AdminClient:
        if self._whole is not None and self._whole.passed:
            self._admin = None
            where = self._settings.bootstrap_servers
            raise SinkUnavailable(f"Kafka at {where} leaves questions without an answer: look at its brokers' logs")
        if self._admin is None:
            # Its login is its own: a producer with nothing to send is not refused, and would not tell.
            self._causes = Causes(self._settings)
            properties: dict[str, Any] = {**self._settings.fresh().properties(), "log_level": 0}
            # An idempotent client asks for an id of a producer's, which takes a right that a reader does not have.
            properties |= {"enable.idempotence": False, "error_cb": self._causes.hear}
            try:
                self._admin = AdminClient(properties)
            except KafkaException as exc:  # a file of a certificate that is gone, say
                raise StreamRefused(self._settings.refusal(exc.args[0].str())) from exc
        return self._admin
