"""Kind `pubsub`: the real source of the plug-in for Redis, with its lease and its window, before model servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.brokers.redis import gaps, source as real
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.brokers.redis.times import Times
from celery_event_bridge.contract import Sink, notices
from celery_event_bridge.contract.broker import Parking, Source
from tests.simulation import faults
from tests.simulation.contract.stream import ModelSink, Stream
from tests.simulation.faults import Cards
from tests.simulation.kinds import Kind
from tests.simulation.process import Process
from tests.simulation.pubsub.link import Standing, connected
from tests.simulation.pubsub.list_parking import ListParking
from tests.simulation.pubsub.pubsub_cards import OF_PUBSUB, RARE
from tests.simulation.pubsub.servers import Servers
from tests.simulation.pubsub.truth import Truth
from tests.simulation.pubsub.watched import Watched, WatchedSource

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.replica import Replica


class Way(Stream):
    """A replica's way to the stream, which may be away or slow for it alone."""

    def __init__(self, stream: Stream) -> None:
        self.world = stream.world
        self._stream = stream
        self.own_outages = 0
        self.own_slow = 0.0

    @property
    def away(self) -> bool:
        return self._stream.away or self.own_outages > 0

    @property
    def slow(self) -> float:  # type: ignore[override]
        return self._stream.slow + self.own_slow

    def end_own_outage(self) -> None:
        """End one of several."""
        self.own_outages = max(0, self.own_outages - 1)

    def store(self, event: Any) -> None:
        self._stream.store(event)


class PubSubKind(Kind):
    """See the module's text."""

    played_by: ClassVar[str] = "tests.simulation.pubsub.pubsub_play:PubSubPlay"
    cards: ClassVar[Cards] = {**faults.OF_REPLICAS, **faults.OF_STREAMS, **OF_PUBSUB}
    rare: ClassVar[Collection[str]] = RARE
    recovery: ClassVar[float] = 15.0
    is_exact: ClassVar[bool] = False
    """True where no gap may be told as longer than it is, but for a second."""
    relay: ClassVar[Mapping[str, Any]] = {"retry_max_interval": 0.7, "let_go_after": 3.0}

    def __init__(self, play: Play) -> None:
        self.play = play
        world = play.world
        self.settings = Settings(
            broker_url="redis://127.0.0.1/0",
            prefetch=play.knobs.prefetch,
            max_inflight_bytes=play.knobs.max_inflight_bytes,
            max_message_bytes=play.knobs.max_message_bytes,
        )
        self.names = self.settings.names
        self.servers = Servers(world, self.names)
        self.stream = Stream(world, play.oracle.stored)
        self.ways: dict[str, Way] = {}
        self.parked: Counter[int] = Counter()
        self.truth = Watched.truth = Truth(world, lambda message: not play.oracle.owed(message))
        # A server's limit is many times what is read of a message; else one by itself would cut off everybody.
        self.servers.limit = max(self.servers.limit, 8 * play.knobs.max_message_bytes)
        self.servers.on_again = self.truth.published_again
        self.count = 2 + int(world.random.random() * 3)
        """Replicas."""
        self.is_lively = world.chance(0.8)
        self._sources: dict[int, WatchedSource] = {}
        self._owners = 0
        world.say("Redis", "replicas", self.count, "limit", self.servers.limit, "at once", self.servers.at_once)

    @staticmethod
    def in_place(_: Callable[[], float]) -> list[tuple[object, str, object]]:
        def tell(kind: str, text: str, *, count: int = 1, seconds: float = 0.0, **_: Any) -> bool:
            Watched.truth.tells(kind, count, seconds)
            return True

        tell_of_times = gaps.tell_of_times

        def tell_of(times: Times, where: str) -> None:
            Watched.truth.tells_of(times)
            tell_of_times(times, where)

        return [(real, "Window", Watched), (notices, "tell", tell), (gaps, "tell_of_times", tell_of)]

    def source(self, process: Process) -> Source:
        clock = Standing(process)
        self._owners += 1
        owner = f"{self._owners:04d}-{process.name[-1]}"
        source = WatchedSource(
            self.settings, lambda: "the model", lambda: connected(self.servers, process, clock), clock, owner
        )
        source.name, source.owner = process.name, owner
        source.window.source = source
        self._sources[process.number] = source
        return source

    def parking(self, process: Process) -> Parking:
        return ListParking(process, self.servers, self._sources[process.number], self.parked)

    def sink(self, process: Process) -> Sink:
        way = self.ways.setdefault(process.name, Way(self.stream))
        return ModelSink(process, way)

    def is_parked(self, number: int) -> bool:
        return number in self.parked

    def consumes(self, replica: Replica) -> bool:
        """Return whether a replica hears what is published."""
        source: WatchedSource = replica.source  # type: ignore[assignment]
        return source.hears and source.link is not None and source.link.client.server is self.servers.master

    def heal(self) -> None:
        servers, stream = self.servers, self.stream
        servers.end_partition()
        servers.refuses = servers.oom = servers.readonly = servers.misconf = False
        servers.slow = stream.slow = 0.0
        stream.outages = 0
        servers.start_now()
        self.play.world.unreachable.clear()
        for client in servers.all_clients():
            client.up = client.down = 0.0
            if client.half_open:
                client.cut()
            client.notice_if_lost()
        for way in self.ways.values():
            way.own_outages, way.own_slow = 0, 0.0
        for replica in self.play.replicas:
            replica.sink.heal()  # type: ignore[attr-defined]
            replica.parking.refuse = 0  # type: ignore[attr-defined]
            replica.source._clock.pauses.clear()  # type: ignore[attr-defined]
