"""Events on their way to a real Redis: written while it answers earlier ones, and what a failure in the midst means."""

from __future__ import annotations

from pathlib import Path

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable, Verdict
from celery_event_bridge.testing import await_verdicts, deliver, sample_events
from celery_event_sinks.redis import sink as redis_streams
from celery_event_sinks.redis.sink import RedisStreamsSink
from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.redis_sinks import in_use, opened, port, stored, through
from tests.support.servers import Redis, redis
from tests.support.servers.debian import until
from tests.support.servers.redis import TlsRedis

STREAM = "celery-events"


def outcomes(verdicts: list[Verdict]) -> dict[Outcome, list[Event]]:
    found: dict[Outcome, list[Event]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.outcome, []).extend(verdict.events)
    return found


def test_it_writes_on_while_redis_is_busy(own_redis: Redis) -> None:
    """Batches go out before the first is answered, more are queued; all are stored, in order, once."""
    subject = in_use(own_redis.url)
    before = len(stored(own_redis.url))
    events = sample_events(20_000, size=100)
    own_redis.pause()
    for start in range(0, len(events), 500):
        subject.send(events[start : start + 500])
        assert [] == list(subject.verdicts(0.0))
    assert redis_streams.BATCH_EVENTS < len(subject._written) <= redis_streams.ON_THE_WAY + redis_streams.BATCH_EVENTS
    own_redis.resume()
    assert {Outcome.STORED: events} == outcomes(await_verdicts(subject, len(events), 80))
    assert [event.data for event in events] == stored(own_redis.url)[before:]


def test_an_error_in_the_midst(own_redis: Redis) -> None:
    """Those with an error come back once all is answered, in order, with all that was queued behind; others count."""
    client = own_redis.client()
    client.set("celery-task", "no stream")
    subject = opened(own_redis.url, stream="celery-{group}")
    events = sample_events(3000)
    subject.send(events[:1500])
    subject.send(events[1500:])
    verdicts = await_verdicts(subject, len(events), 80)
    found = outcomes(verdicts)
    bad = [event for event in events if event.type.startswith("task-")]
    kept = {id(event) for event in found[Outcome.STORED]}
    assert [Outcome.RETRY] == [verdict.outcome for verdict in verdicts if verdict.outcome is not Outcome.STORED]
    assert [event for event in events if id(event) not in kept] == found[Outcome.RETRY]
    assert {id(event) for event in bad} <= {id(event) for event in found[Outcome.RETRY]}
    assert sorted(event.data for event in found[Outcome.STORED]) == sorted(
        fields[b"data"] for name in ("celery-worker", "celery-other") for _, fields in client.xrange(name)
    )


def test_replies_that_never_come(own_redis: Redis, proxy: Proxy) -> None:
    """What was written and not answered comes back, all of it, and nothing of it counts as stored."""
    subject = in_use(through(proxy), reply_timeout=0.5)
    events = sample_events(3000)
    proxy.mode = Mode.DROP_REPLIES
    subject.send(events[:1500])
    subject.send(events[1500:])
    (verdict,) = await_verdicts(subject, len(events), 80)
    assert (Outcome.RETRY, events) == (verdict.outcome, list(verdict.events))
    assert "no reply for 0.5 s" in verdict.reason
    proxy.heal()
    assert {Outcome.STORED: events} == outcomes(deliver(subject, events, 80))
    assert {event.data for event in events} <= set(stored(own_redis.url))


def test_a_connection_that_is_cut_while_redis_works(own_redis: Redis, proxy: Proxy) -> None:
    """Each event has one verdict, and what counts as stored is there: answered before the cut, or written again."""
    subject = in_use(through(proxy))
    for _ in range(2):
        events = sample_events(4000)
        subject.send(events)
        early = list(subject.verdicts(0.001))
        proxy.cut()
        left = len(events) - sum(len(verdict.events) for verdict in early)
        found = outcomes([*early, *await_verdicts(subject, left, 80)])
        assert sorted(map(id, events)) == sorted(id(event) for group in found.values() for event in group)
        assert {event.data for event in found.get(Outcome.STORED, ())} <= set(stored(own_redis.url))
        while Outcome.RETRY in found:
            found = outcomes(deliver(subject, found[Outcome.RETRY], 80))
        assert {event.data for event in events} <= set(stored(own_redis.url))


def test_a_half_open_connection(own_redis: Redis, proxy: Proxy) -> None:
    """Nobody is there, and nothing says so: the events come back when no reply has come in time, also those that were
    written meanwhile.
    """
    subject = in_use(through(proxy), reply_timeout=0.5)
    proxy.half_open()
    events = sample_events(10_000)
    waiting = iter(events)
    handed: list[Event] = []
    back: list[Event] = []

    def come_back() -> bool:
        if (event := next(waiting, None)) is not None and not back:
            subject.send([event])
            handed.append(event)
        back.extend(event for verdict in subject.verdicts(0.01) for event in verdict.events)
        return bool(back)

    until(come_back, 20, "the events come back", pause=0.0)
    assert handed == back
    proxy.heal()
    assert {Outcome.STORED: handed} == outcomes(deliver(subject, handed, 80))


def test_wait_is_asked_on_the_connection_that_has_written(own_redis: Redis, proxy: Proxy) -> None:
    """Replicas that a new connection finds say nothing of what an earlier one has written."""
    subject = opened(through(proxy), wait=1)
    events = sample_events(10)
    subject.send(events)
    until(lambda: subject.verdicts(0.05) or subject._unconfirmed, 20, "they are written")
    proxy.cut()
    with redis(own=True) as replica, replica.client() as client:
        client.replicaof("127.0.0.1", str(port(own_redis.url)))
        until(lambda: asked(subject), 20, "the replica is there, on another connection")
        (verdict,) = await_verdicts(subject, 10, 80)
        assert (Outcome.RETRY, events) == (verdict.outcome, list(verdict.events))
        (verdict,) = deliver(subject, events, 80)
        assert (Outcome.STORED, events) == (verdict.outcome, list(verdict.events))


def asked(subject: RedisStreamsSink) -> bool:
    try:
        subject.available()
    except SinkUnavailable:
        return False
    return True


def test_what_is_on_its_way_is_answered_before_a_question(own_redis: Redis) -> None:
    """Asking whether Redis is there, in the midst of it, mixes up nothing."""
    subject = in_use(own_redis.url)
    events = sample_events(5000)
    subject.send(events)
    subject.available()
    assert {Outcome.STORED: events} == outcomes(await_verdicts(subject, len(events), 80))


def test_over_tls(certificates: Path, tls_redis: TlsRedis) -> None:
    """A TLS connection takes and gives in records: nothing is left lying in it."""
    subject = opened(
        f"rediss://localhost:{tls_redis.tls_port}/0?ssl_ca_certs={certificates}/ca.pem"
        f"&ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
    )
    events = sample_events(10_000, size=1000)
    for start in range(0, len(events), 1000):
        subject.send(events[start : start + 1000])
    assert {Outcome.STORED: events} == outcomes(await_verdicts(subject, len(events), 80))
    assert [event.data for event in events] == [entry[b"data"] for entry in oracle.in_redis(tls_redis.url)]
