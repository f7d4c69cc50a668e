"""Kind `kafka`: the real sink before stand-ins of librdkafka's two clients, and a model of their cluster."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.contract import Sink
from celery_event_sinks.kafka import cluster, producer, records
from celery_event_sinks.kafka.removed import Bounds
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.simulation import faults
from tests.simulation.faults import Cards
from tests.simulation.judged import Judged
from tests.simulation.kafka.kafka_admin import FakeAdmin
from tests.simulation.kafka.kafka_cards import OF_KAFKA
from tests.simulation.kafka.kafka_cluster import KafkaCluster
from tests.simulation.kafka.kafka_producer import FakeProducer
from tests.simulation.kinds import Kind

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process


class JudgedKafkaSink(Judged, KafkaSink):
    """The real one, whose verdicts are judged."""


class Clock(datetime.datetime):
    """Stands in for `datetime.datetime`, by the clock of the process that asks."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        process = FakeProducer.cluster.world.current
        assert process is not None
        return datetime.datetime.fromtimestamp(process.time(), tz)


class KafkaKind(Kind):
    """See the module's text."""

    scarce: ClassVar[bool] = False
    cards: ClassVar[Cards] = {**faults.OF_REPLICAS, **faults.OF_RABBITMQ, **OF_KAFKA}

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.kafka = FakeProducer.cluster = FakeAdmin.cluster = KafkaCluster(play.world, play.oracle.stored)
        queue = (50, 100_000)[int(play.world.random.random() * 2)]
        topic = ("celery-events", "celery-{group}")[int(play.world.random.random() * 2)]
        self._settings = KafkaSettings(
            bootstrap_servers="127.0.0.1:9092", topic=topic, queue_buffering_max_messages=str(queue)
        )
        play.world.say("Kafka", "limit", self.kafka.limit, "queue", queue, topic)

    @staticmethod
    def in_place(monotonic: Callable[[], float]) -> list[tuple[object, str, object]]:
        dates = SimpleNamespace(datetime=Clock, UTC=datetime.UTC, timedelta=datetime.timedelta)
        return [
            (producer, "Producer", FakeProducer),
            (cluster, "AdminClient", FakeAdmin),
            (records, "datetime", dates),
            (Bounds.__init__, "__defaults__", (monotonic,)),
        ]

    def refuses(self, data: bytes) -> bool:
        return len(data) + 70 > self.kafka.limit

    def sink(self, process: Process) -> Sink:
        found = JudgedKafkaSink(self._settings)
        found.holds, found.now, found.refuses = self.kafka.holds, process.monotonic, self.refuses
        return found

    def copies(self, event: str) -> int:
        return self.kafka.copies[event]

    def is_stored(self, event: str) -> bool:
        return self.kafka.holds(event)

    def heal(self) -> None:
        super().heal()
        kafka = self.kafka
        kafka.start()
        kafka.slow, kafka.lose_answers, kafka.empty = 0.0, 0, False
        kafka.errors.clear()
        kafka.fail_questions.clear()
        for partition in kafka.partitions():
            partition.heal()
        for replica in self.play.replicas:
            replica.set_clock(0.0)
