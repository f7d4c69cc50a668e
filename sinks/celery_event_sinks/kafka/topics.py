"""The topics: whether they would take a record now, whether they are the same as before, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka.admin import AclOperation, NewTopic, TopicDescription

from celery_event_bridge.contract import Finding, SinkUnavailable, StreamMissing, StreamRefused, notices
from celery_event_sinks.kafka.advice import MIN_REPLICAS, findings, unused
from celery_event_sinks.kafka.cluster import DEFAULT_PARTITIONS, DEFAULT_REPLICAS, Cluster
from celery_event_sinks.kafka.described import described, of_partitions
from celery_event_sinks.kafka.down import Down, raise_any, trouble_of
from celery_event_sinks.kafka.lost import Peek, lost
from celery_event_sinks.kafka.marks import Mark
from celery_event_sinks.kafka.removed import Bounds
from celery_event_sinks.kafka.seen import NO_ID, Seen, id_of
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.state import State
from celery_event_sinks.kafka.times import RETENTION, Times, times

USUAL_REPLICAS = 3


class Topics:
    """Topics that the settings name."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._names = tuple(dict.fromkeys(settings.topics.values()))
        self._cluster = Cluster(settings)
        self._cluster_id = ""
        self._seen: dict[str, Seen] = {}
        self._bounds = Bounds()
        self._silent = ""
        """A partition whose end was seen before, and could not be had at the last look."""
        self._clusters: list[str] = []
        """The ids of those that the address has led to; the last is the present one."""
        self._brokers = len(settings.bootstrap_servers.split(","))
        """The most that were seen, or that the settings name: those that are away now count."""
        self.down = Down(self._names)
        self.times = Times()
        """Configuration of the topics, as of the last look."""

    def renew(self, settings: KafkaSettings | None = None) -> None:
        """Ask by a new connection next time."""
        self._settings = settings or self._settings
        self._cluster.renew(settings)

    def close(self) -> None:
        """Let go of the client that asks, in this thread."""
        self._cluster.close()

    def check(self) -> None:
        """Make those that are missing. Raises SinkUnavailable where a record would not be stored now."""
        raise_any(self._look(bounds=True))
        self.down.found({})
        if self._silent:
            # Asked again before anything is stored: what comes would hide that the end before was lost.
            raise SinkUnavailable(f"{self._silent} does not say where it ends yet")

    def preview(self) -> Sequence[Finding]:
        """Check as `check` does, but say how those that are missing would be made, and make none."""
        planned: list[Finding] = []
        raise_any(self._look(planned))
        return planned

    def look(self) -> None:
        """Check likewise, but what cannot store now is the producer's to wait for while another one can: a partition of
        a topic, and a whole topic of several, which is told of.
        """
        self.down.found(self._look(bounds=True))

    def advice(self) -> Sequence[Finding]:
        """Return what the topics may lose of what they have confirmed. Raises SinkUnavailable."""
        with self._cluster.within():
            state = self._cluster.state(self._names)
        return [
            *unused(self._settings),
            *(
                finding
                for name, topic in state.topics.items()
                if topic is not None
                for finding in findings(name, topic, state.values(name))
            ),
        ]

    def location(self) -> str:
        """Return the topics' names and the cluster's id, which is asked for once. Raises SinkUnavailable."""
        self._cluster_id = self._cluster_id or self.cluster()
        return f"kafka {' '.join(self._names)} {self._cluster_id}"

    def cluster(self) -> str:
        """Return the cluster's id. Raises SinkUnavailable."""
        return self._cluster.id(self._names)

    def marks(self) -> dict[str, Mark]:
        """Return the id, and the number of partitions, of each that is there and has an id. Raises SinkUnavailable."""
        found = self._cluster.topics(self._names)
        marks = {name: Mark(id_of(topic), len(topic.partitions)) for name, topic in found.items() if topic is not None}
        return {name: mark for name, mark in marks.items() if mark.topic != NO_ID}

    def check_readable(self, group: str | None) -> None:
        """Raise StreamMissing where none of them is there, StreamRefused where this user may not read one, or not as a
        member of this group.
        """
        found = {name: topic for name, topic in self._cluster.topics(self._names).items() if topic is not None}
        if not found:
            names, where = ", ".join(map(repr, self._names)), self._settings.bootstrap_servers
            raise StreamMissing(f"there is no topic {names} in Kafka at {where} yet: is it the right name and cluster?")
        for name, topic in found.items():
            if topic.authorized_operations and AclOperation.READ not in topic.authorized_operations:
                raise StreamRefused(f"topic {name!r}: no permission to read; grant READ on it to this user")
        if group is not None and self._cluster.refuses_group(group):
            raise StreamRefused(
                f"group {group!r}: no permission to read as a member of it; grant READ on the group to this user"
            )

    def missed_by_groups(self, peek: Peek) -> dict[str, int]:
        """Return, by group, at least how many events were lost with the end of a log that the group has read.

        Raises SinkUnavailable.
        """
        found = self._cluster.topics(self._names)
        bounds, missed = self._cluster.bounds(found), {}
        ids = {name: id_of(topic) for name, topic in found.items() if topic is not None}
        for group, positions in self._cluster.positions(self._names).items():
            read = {
                one: at.mark.last
                for one, at in positions.items()
                if at.mark is not None and at.mark.last is not None and one in bounds and at.mark.topic == ids[one[0]]
            }
            if count := sum(max(1, read[one].offset + 1 - bounds[one][1]) for one in lost(peek, read, bounds)):
                missed[group] = count
        return missed

    def _look(self, planned: list[Finding] | None = None, *, bounds: bool = False) -> Mapping[str, Sequence[str]]:
        """Look at all, make what is missing, and tell of what has changed. Returns, by topic, each partition's trouble,
        an empty text where it has none. With a list none is made: it gets a finding for each.
        """
        with self._cluster.within():
            return self._look_at_all(planned, bounds=bounds)

    def _look_at_all(self, planned: list[Finding] | None, *, bounds: bool) -> Mapping[str, Sequence[str]]:
        state = self._cluster.state(self._names)
        self._brokers = max(self._brokers, len(state.brokers))
        self._tell_of_cluster(state.cluster)
        missing = [name for name, topic in state.topics.items() if topic is None]
        troubles: dict[str, Sequence[str]] = {}
        if planned is not None:
            planned += [self._plan_of(name, state) for name in missing]
        elif missing:
            made, troubles = self._make_all(missing, state)
            try:
                # By whomever they were made; why they could not be says more than one more question without an answer.
                state = state if troubles.keys() >= {*missing} else self._cluster.state(self._names)
            finally:
                for one in made:
                    self._tell_of_made(one, state.topics.get(one.topic))
        troubles |= {name: [reason] for name, reason in state.denied.items()}
        for name, topic in state.topics.items():
            if topic is None and planned is not None:
                continue
            if topic is None:
                troubles.setdefault(name, [f"topic {name!r} was made a moment ago, and its brokers do not know it yet"])
                continue
            self._tell_of_change(name, topic, state)
            if topic.authorized_operations and AclOperation.WRITE not in topic.authorized_operations:
                troubles[name] = [f"topic {name!r}: no permission to write; grant WRITE on it to this user"]
                continue
            wanted = int((state.values(name) or {}).get(MIN_REPLICAS, 1))
            troubles[name] = [trouble_of(name, partition, wanted) for partition in topic.partitions]
        self.times = times(state.values(name) for name in state.topics)
        if bounds and not any(map(any, troubles.values())):
            self._look_at_bounds(state)
        return troubles

    def _look_at_bounds(self, state: State) -> None:
        found = self._cluster.bounds(state.topics)
        asked = [(name, one.id) for name, topic in state.topics.items() if topic for one in topic.partitions]
        silent = next((one for one in asked if one not in found and self._bounds.knows(one)), None)
        self._silent = "" if silent is None else f"partition {silent[1]} of topic {silent[0]!r}"
        self._bounds.look(found, {name: state.values(name) for name in state.topics})

    def _tell_of_cluster(self, cluster: str) -> None:
        if self._clusters and cluster != self._clusters[-1]:
            notices.tell(
                "stream-replaced",
                f"{self._settings.bootstrap_servers} leads to another Kafka cluster than before: its id is {cluster} "
                f"and was {self._clusters[-1]}; what was stored is in the old one",
                every=0.0,
            )
        if not self._clusters or cluster != self._clusters[-1]:
            self._clusters = [*self._clusters[-1:], cluster]

    def _tell_of_change(self, name: str, topic: TopicDescription, state: State) -> None:
        config = state.configs.get(name)
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = Seen.first(topic, config)
        elif change := seen.again(topic, config):
            notices.tell("stream-replaced", f"topic {name!r} {change}", subject=name, every=0.0)
            self._bounds.forget(name)

    # How one is made ----------------------------------------------------------------------------------------------

    def _wanted(self, name: str, state: State) -> NewTopic:
        """Choose what the settings say, else what it was before, else what the cluster does by itself: no worse.

        Raises SinkUnavailable where it would be.
        """
        settings, seen = self._settings, self._seen.get(name)
        # -1 leaves it to the broker.
        partitions, replicas, config = settings.partitions or -1, settings.replication_factor or -1, {}
        if seen is not None:
            partitions = settings.partitions or seen.best.partitions
            replicas = settings.replication_factor or seen.best.replicas
            config = {key: text for key, text in seen.own.items() if key != MIN_REPLICAS}
            if (min_insync := min(seen.best.min_insync, replicas)) > 1:
                config[MIN_REPLICAS] = str(min_insync)
        if settings.replication_factor is None and replicas < 2 and self._brokers > 1:
            replicas = self._several_replicas(name, state)
        retention = settings.retention_ms()
        if retention is not None:
            config[RETENTION] = str(retention)
        return NewTopic(name, partitions, replicas, config=config)

    def _make_all(self, names: Sequence[str], state: State) -> tuple[list[NewTopic], dict[str, Sequence[str]]]:
        """Make them as wanted; return those that were made, and why one could not be, by its name."""
        made: list[NewTopic] = []
        troubles: dict[str, Sequence[str]] = {}
        for name in names:
            try:
                wanted = self._wanted(name, state)
                if self._cluster.make(wanted):  # nobody else was faster
                    made.append(wanted)
            except SinkUnavailable as exc:
                troubles[name] = [str(exc)]
        return made, troubles

    def _tell_of_made(self, wanted: NewTopic, found: TopicDescription | None) -> None:
        """Tell of a topic that was made, by what the brokers say of it where they know it already."""
        name, partitions, replicas = wanted.topic, wanted.num_partitions, wanted.replication_factor
        if found is not None and found.partitions:
            partitions, replicas = len(found.partitions), len(found.partitions[0].replicas)
        notices.tell(
            "stream-made",
            f"topic {name!r} did not exist and was made: {described(partitions, replicas, wanted.config)}"
            + ("; what it held before is gone" if name in self._seen else "")
            + of_partitions(partitions),
            subject=name,
            every=0.0,
        )

    def _plan_of(self, name: str, state: State) -> Finding:
        """Return how it would be made, once Kafka has said that it may be. Raises SinkUnavailable."""
        wanted = self._wanted(name, state)
        self._cluster.make(wanted, only_ask=True)
        partitions, replicas = wanted.num_partitions, wanted.replication_factor
        if replicas < 0 and state.brokers:
            replicas = self._cluster.default_of(state.brokers[0], DEFAULT_REPLICAS) or replicas
        if partitions < 0 and state.brokers:
            partitions = self._cluster.default_of(state.brokers[0], DEFAULT_PARTITIONS) or partitions
        figures = described(partitions, replicas, wanted.config)
        text = f"topic {name!r} is not there yet, run will make it: {figures}"
        if replicas == 1:
            text += "; with one replica, what it confirms is lost with that broker's disk"
        return Finding("warn" if replicas == 1 else "ok", text + of_partitions(partitions))

    def _several_replicas(self, name: str, state: State) -> int:
        """Return how many to ask for, where nobody has said a number, in a cluster of several brokers."""
        default = self._cluster.default_of(state.brokers[0], DEFAULT_REPLICAS) if state.brokers else None
        if default is None:
            return min(USUAL_REPLICAS, self._brokers)
        if default > 1:
            return -1
        raise SinkUnavailable(
            f"topic {name!r} does not exist, and this cluster of {self._brokers} brokers would make it with one "
            f"replica ({DEFAULT_REPLICAS}=1), lost with its broker: set BRIDGE_KAFKA_REPLICATION_FACTOR to "
            f"{USUAL_REPLICAS}, or to 1 if that is meant, or make the topic yourself"
        )
