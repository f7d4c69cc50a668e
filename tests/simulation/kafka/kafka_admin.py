"""Stand-in for `confluent_kafka.admin.AdminClient`: each question is answered, or fails, when its time has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigSource, ResourceType

from tests.simulation.kafka.kafka_cluster import MIN_IN_SYNC, REPLICAS, KafkaCluster, Partition, Topic

NODES = (1, 2, 3)


class Future:
    """Answer to come."""

    def __init__(self, cluster: KafkaCluster, answer: Callable[[], Any], timeout: float) -> None:
        self._cluster = cluster
        self._process = cluster.world.current
        self._answer: Any = None
        self._error: KafkaException | None = None
        self._done = False
        delay = cluster.delay()
        if cluster.fail_questions:
            code = cluster.fail_questions.pop()
            cluster.world.after(delay, self._fail, code)
        elif not cluster.up or 2 * delay > timeout:
            cluster.world.after(timeout, self._fail, KafkaError._TIMED_OUT)
        else:
            cluster.world.after(delay, self._ask, answer, delay)

    def result(self, timeout: float) -> Any:
        """Wait for it. Raises TimeoutError, KafkaException."""
        world = self._cluster.world
        end = world.now + timeout
        while not self._done:
            if world.now >= end:
                raise TimeoutError
            assert self._process is not None
            self._process.wait(end - world.now)
        if self._error is not None:
            raise self._error
        return self._answer

    def _ask(self, answer: Callable[[], Any], delay: float) -> None:
        if not self._cluster.up:
            self._cluster.world.after(1.0, self._fail, KafkaError._TRANSPORT)
            return
        try:
            found = answer()
        except KafkaException as exc:
            self._cluster.world.after(delay, self._finish, None, exc)
        else:
            self._cluster.world.after(delay, self._finish, found, None)

    def _fail(self, code: int) -> None:
        self._finish(None, KafkaException(KafkaError(code, KafkaError(code).str())))

    def _finish(self, answer: Any, error: KafkaException | None) -> None:
        self._answer, self._error, self._done = answer, error, True
        if self._process is not None and not self._process.dead:
            self._process.wake()


class FakeAdmin:
    """See the module's text."""

    cluster: ClassVar[KafkaCluster]

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._error_cb = properties["error_cb"]
        self._said_down = False

    def poll(self, timeout: float) -> int:
        """Let it be heard that nobody is there."""
        if not self.cluster.up and not self._said_down:
            self._said_down = True
            self._error_cb(KafkaError(KafkaError._TRANSPORT, "127.0.0.1:9092/bootstrap: Connect to it failed: refused"))
            self._error_cb(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        return 0

    def describe_topics(self, names: Any, request_timeout: float, **_: Any) -> dict[str, Future]:
        return {
            name: Future(self.cluster, lambda name=name: self._topic(name), request_timeout)
            for name in names.topic_names
        }

    def describe_configs(self, resources: Sequence[Any], request_timeout: float) -> dict[Any, Future]:
        return {one: Future(self.cluster, lambda one=one: self._config(one), request_timeout) for one in resources}

    def list_topics(self, name: str, timeout: float) -> Any:
        return Future(self.cluster, self._metadata, timeout).result(timeout + 1)

    def list_offsets(self, asked: Mapping[Any, Any], request_timeout: float) -> dict[Any, Future]:
        return {
            one: Future(self.cluster, lambda one=one, spec=spec: self._offset(one, spec), request_timeout)
            for one, spec in asked.items()
        }

    def create_topics(self, topics: Sequence[Any], request_timeout: float, **_: Any) -> dict[str, Future]:
        return {one.topic: Future(self.cluster, lambda one=one: self._make(one), request_timeout) for one in topics}

    def _known(self, name: str) -> Topic:
        topic = self.cluster.topics.get(name)
        if topic is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "Broker: Unknown topic or partition"))
        return topic

    def _topic(self, name: str) -> Any:
        topic = self._known(name)
        partitions = [
            SimpleNamespace(
                id=one.number,
                leader=1 if one.leader else None,
                replicas=[*NODES[:REPLICAS]],
                isr=[*NODES[: one.in_sync]],
            )
            for one in topic.partitions
        ]
        return SimpleNamespace(name=name, topic_id=topic.id, partitions=partitions, authorized_operations=None)

    def _config(self, resource: Any) -> Any:
        if resource.restype is ResourceType.BROKER:
            return {"default.replication.factor": _entry(str(REPLICAS), ConfigSource.STATIC_BROKER_CONFIG)}
        config = {"min.insync.replicas": str(MIN_IN_SYNC)} | self._known(resource.name).config
        return {name: _entry(value, ConfigSource.DYNAMIC_TOPIC_CONFIG) for name, value in config.items()}

    def _metadata(self) -> Any:
        brokers = {} if self.cluster.empty else dict.fromkeys(NODES)
        return SimpleNamespace(cluster_id="cluster", brokers=brokers)

    def _offset(self, asked: Any, spec: Any) -> Any:
        partition = self._partition(asked)
        return SimpleNamespace(offset=partition.first if "Earliest" in type(spec).__name__ else partition.next)

    def _partition(self, asked: Any) -> Partition:
        partitions = self._known(asked.topic).partitions
        if asked.partition >= len(partitions) or not partitions[asked.partition].leader:
            raise KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "Broker: Not leader"))
        return partitions[asked.partition]

    def _make(self, topic: Any) -> None:
        if not self.cluster.make(topic.topic, topic.num_partitions, topic.config or {}):
            raise KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS, "Broker: Topic exists"))


def _entry(value: str, source: ConfigSource) -> Any:
    return SimpleNamespace(value=value, source=source.value)
