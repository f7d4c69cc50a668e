"""Cards of the kind `kafka`: what befalls the cluster, its topics, and a producer's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError

from tests.simulation.faults import Card, Cards, set_for
from tests.simulation.kafka.kafka_cluster import KafkaCluster, Partition
from tests.simulation.kafka.kafka_producer import FakeProducer

if TYPE_CHECKING:
    from tests.simulation.play import Play

REFUSALS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError._MSG_TIMED_OUT,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.POLICY_VIOLATION,
)
"""Codes of a batch that is not stored."""
ANSWERS = (
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_ALREADY_EXISTS,
)
"""Codes of a question."""


def _kafka(play: Play) -> KafkaCluster:
    cluster: KafkaCluster = play.kind.kafka  # type: ignore[attr-defined]
    return cluster


def _producer(play: Play, card: Card) -> FakeProducer | None:
    producers = _kafka(play).producers
    return producers[int(card.who * len(producers))] if producers else None


def _partition(play: Play, card: Card) -> Partition | None:
    partitions = _kafka(play).partitions()
    return partitions[int(card.who * len(partitions))] if partitions else None


def _away(play: Play, card: Card) -> None:
    _kafka(play).stop()
    play.world.after(card.seconds(0.05, 20.0), _kafka(play).start)


def _reset(play: Play, card: Card) -> None:
    if producer := _producer(play, card):
        producer.disconnected("Disconnected (after 4ms in state UP)")


def _lose_answers(play: Play, card: Card) -> None:
    _kafka(play).lose_answers += 1 + int(card.much * 3)


def _no_leader(play: Play, card: Card) -> None:
    if partition := _partition(play, card):
        set_for(play, partition, "leader", False, True, card.seconds(0.05, 15.0))


def _out_of_sync(play: Play, card: Card) -> None:
    if partition := _partition(play, card):
        set_for(play, partition, "in_sync", 1, 3, card.seconds(0.05, 10.0))


def _unclean(play: Play, card: Card) -> None:
    if partition := _partition(play, card):
        gone = partition.lose_after(play.world.now - card.seconds(0.01, 5.0))
        _kafka(play).destroy(gone, "unclean leader")


def _delete_records(play: Play, card: Card) -> None:
    if partition := _partition(play, card):
        _kafka(play).destroy(partition.delete_before(card.much), "delete-records")


def _delete_topics(play: Play, card: Card) -> None:
    _kafka(play).delete()


def _make_anew(play: Play, card: Card) -> None:
    cluster = _kafka(play)
    names = [*cluster.topics]
    cluster.delete()
    for name in names:
        cluster.make(name, 1 + int(card.much * 4), {})


def _slow(play: Play, card: Card) -> None:
    set_for(play, _kafka(play), "slow", card.seconds(0.001, 4.0), 0.0, card.who * 5)


def _fatal(play: Play, card: Card) -> None:
    if producer := _producer(play, card):
        producer.fail(KafkaError.INVALID_PRODUCER_EPOCH, "Broker: Producer attempted an operation with an old epoch")


def _refuse(play: Play, card: Card) -> None:
    code = REFUSALS[int(card.who * len(REFUSALS))]
    _kafka(play).errors += [code] * (1 + int(card.much * 4))


def _fail_questions(play: Play, card: Card) -> None:
    code = ANSWERS[int(card.who * len(ANSWERS))]
    _kafka(play).fail_questions += [code] * (1 + int(card.much * 6))


def _empty(play: Play, card: Card) -> None:
    set_for(play, _kafka(play), "empty", True, False, card.seconds(0.1, 10.0))


OF_KAFKA: Cards = {
    "Kafka away": _away,
    "producer's connection reset": _reset,
    "Kafka's answers lost": _lose_answers,
    "no leader": _no_leader,
    "too few in sync": _out_of_sync,
    "unclean leader": _unclean,
    "records deleted": _delete_records,
    "topics deleted": _delete_topics,
    "topics made anew": _make_anew,
    "Kafka slow": _slow,
    "fatal error": _fatal,
    "batches refused": _refuse,
    "questions failed": _fail_questions,
    "no broker named": _empty,
}
