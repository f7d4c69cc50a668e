"""Kind `redis`: the real sink with redis-py and hiredis, on the network of the world, before the model of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.contract import Sink
from celery_event_sinks.redis.clock import StreamClock
from celery_event_sinks.redis.sink import RedisSettings, RedisStreamsSink
from tests.simulation import faults
from tests.simulation.faults import Cards
from tests.simulation.judged import Judged
from tests.simulation.kinds import Kind
from tests.simulation.redis.redis_cards import OF_REDIS
from tests.simulation.redis.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process

PORT = 6379
TRIMS = ("never", "never", "maxlen=2000", "age=20s")


class JudgedRedisSink(Judged, RedisStreamsSink):
    """The real one, whose verdicts are judged."""


class RedisKind(Kind):
    """See the module's text."""

    scarce: ClassVar[bool] = False
    cards: ClassVar[Cards] = {**faults.OF_REPLICAS, **faults.OF_RABBITMQ, **OF_REDIS}

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        world = play.world
        self.redis = RedisServer(world, play.oracle.stored)
        world.servers[PORT] = self.redis.accept
        self.wait = int(world.random.random() < 0.25)
        database = int(world.random.random() * 2)
        login = ":secret@" if self.redis.password else ""
        self._settings = RedisSettings(
            url=f"redis://{login}127.0.0.1:{PORT}/{database}",
            trim=TRIMS[int(world.random.random() * len(TRIMS))],
            wait=self.wait,
        )
        world.say("Redis", self.redis.version, str(self._settings.trim), "wait", self.wait, "limit", self.redis.longest)

    @staticmethod
    def in_place(monotonic: Any) -> list[tuple[object, str, object]]:
        return [(StreamClock.__init__, "__defaults__", (monotonic, None))]

    def refuses(self, data: bytes) -> bool:
        return len(data) > self.redis.longest

    def sink(self, process: Process) -> Sink:
        sink = JudgedRedisSink(self._settings)
        sink.holds, sink.now, sink.refuses = self.holds, process.monotonic, self.refuses
        sink.confirmed = self.redis.promised.add
        return sink

    def holds(self, event: str, since: float) -> bool:
        """Return whether an event was there since; where a rule of ours removes events, also before that.

        Redis remembers the id of an event that is gone by the rule, and it is not written again: it would go at once.
        """
        return self.redis.holds(event, since if self._settings.trim.rule == "never" else -1.0)

    def copies(self, event: str) -> int:
        return self.redis.copies[event]

    def is_stored(self, event: str) -> bool:
        return self.redis.holds(event)

    def heal(self) -> None:
        super().heal()
        redis = self.redis
        redis.oom = redis.misconf = redis.wrong_type = redis.loading = redis.replica_away = False
        redis.slow = redis.busy_until = 0.0
        redis.cut_after.clear()
        redis.trickle.clear()
        redis.start(0.0)
        for session in redis.sessions:
            session.line.extra = 0.0
            session.line.resume()
