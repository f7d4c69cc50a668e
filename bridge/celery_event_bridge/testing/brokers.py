"""Tests that every broker's plug-in has to pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celery_event_bridge.config import plugins
from celery_event_bridge.contract import Finding, Rejection
from celery_event_bridge.contract.broker import Ack, Message, Parcel, Source
from celery_event_bridge.contract.broker_plugin import BrokerPlugin, BrokerSettings
from celery_event_bridge.contract.deadline import Deadline


class BrokerContract:
    """Tests of a plug-in.

    Derive from it, and say how to make the plug-in, how to publish, and what is parked::

        class TestMine(BrokerContract):
            @pytest.fixture
            def make_broker(self, server): return lambda: MyBroker(MySettings(broker_url=server.url))

            @pytest.fixture
            def publish(self, server): return lambda bodies: [server.publish(body) for body in bodies]

            @pytest.fixture
            def parked(self, server): return lambda: server.parked_bodies()
    """

    DEADLINE = 20.0
    """Seconds within which each message has to come."""
    keeps_order = True
    """True if messages come in the order in which they were published."""
    redelivers = True
    """True if what is not acknowledged comes again."""

    def test_its_schemes_are_its_entry_points(self, make_broker: Callable[[], BrokerPlugin]) -> None:
        """A URL of each scheme leads to this plug-in, whose settings are a broker's."""
        made = type(make_broker())
        assert made.schemes
        assert [made] * len(made.schemes) == [plugins.broker(f"{scheme}://") for scheme in sorted(made.schemes)]
        assert issubclass(made.Settings, BrokerSettings)

    def test_what_is_published_is_received_once_it_consumes(
        self, make_broker: Callable[[], BrokerPlugin], publish: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Byte for byte, with growing tags on a lane, and nothing before `consume`."""
        source = opened(make_broker())
        publish([body(number) for number in range(20)])
        assert [] == list(source.poll(0.0))
        source.consume()
        messages = self.await_messages(source, 20)
        assert [body(number) for number in range(20)] == self.in_order(messages)
        for lane in {message.lane for message in messages}:
            tags = [message.tag for message in messages if message.lane == lane]
            assert sorted(set(tags)) == tags
        source.acknowledge(all_of(messages))
        source.close()

    def test_what_is_acknowledged_is_gone_and_what_is_not_comes_again(
        self, make_broker: Callable[[], BrokerPlugin], publish: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Acknowledgements name one, or with `multiple` all up to a tag; the rest comes to who consumes next."""
        if not self.redelivers:
            return
        source = opened(make_broker())
        source.consume()
        publish([body(number) for number in range(10)])
        messages = self.await_messages(source, 10)
        source.acknowledge([Ack(messages[4].lane, messages[4].tag, multiple=True)])
        source.acknowledge([Ack(messages[7].lane, messages[7].tag, multiple=False)])
        kept = sorted(message.body for message in messages[5:] if message is not messages[7])
        source.close()
        again = opened(make_broker())
        again.consume()
        assert kept == sorted(message.body for message in self.await_messages(again, 4))
        again.drop()

    def test_what_is_given_back_comes_again(
        self, make_broker: Callable[[], BrokerPlugin], publish: Callable[[Sequence[bytes]], None]
    ) -> None:
        """A single message by `give_back`, all by `let_go`, after which it is connected and can consume anew."""
        if not self.redelivers:
            return
        source = opened(make_broker())
        source.consume()
        publish([body(number) for number in range(3)])
        messages = self.await_messages(source, 3)
        source.give_back([Ack(messages[1].lane, messages[1].tag, multiple=False)])
        assert [messages[1].body] == [message.body for message in self.await_messages(source, 1)]
        source.let_go()
        assert [] == list(source.poll(0.0))
        source.consume()
        assert [body(number) for number in range(3)] == sorted(each.body for each in self.await_messages(source, 3))
        source.drop()

    def test_a_cancelled_source_still_acknowledges(
        self, make_broker: Callable[[], BrokerPlugin], publish: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Cancelled, it receives nothing more, so that a stop ends, and what was in hand is settled."""
        source = opened(make_broker())
        source.consume()
        publish([body(0)])
        messages = self.await_messages(source, 1)
        source.cancel()
        source.acknowledge(all_of(messages))
        publish([body(1)])
        assert [] == list(source.poll(0.1))
        source.close()
        again = opened(make_broker())
        again.consume()
        if self.redelivers:
            rest = self.await_messages(again, 1)
            assert [body(1)] == [message.body for message in rest]
            again.acknowledge(all_of(rest))
        again.close()

    def test_it_may_be_dropped_at_any_time(self, make_broker: Callable[[], BrokerPlugin]) -> None:
        """Unopened, or twice; and it can be opened again."""
        source = make_broker().source(lambda: "a stream")
        source.drop()
        source.open()
        source.drop()
        source.drop()
        source.open()
        source.close()

    def test_what_is_parked_is_confirmed(
        self, make_broker: Callable[[], BrokerPlugin], parked: Callable[[], Sequence[bytes]]
    ) -> None:
        """Each parcel is returned once, when it is there."""
        broker = make_broker()
        source = opened(broker)
        parcels = [Parcel(self.message(body(number)), Rejection("undecodable", "not JSON")) for number in range(5)]
        parking, confirmed, until = broker.parking(), list[Parcel](), Deadline(self.DEADLINE)
        while len(confirmed) < len(parcels):
            assert not until.passed, f"{len(confirmed)} of {len(parcels)} parked after {self.DEADLINE} s"
            confirmed += parking.park([parcel for parcel in parcels if parcel not in confirmed])
        assert sorted(map(id, parcels)) == sorted(map(id, confirmed))
        assert [body(number) for number in range(5)] == sorted(parked())
        parking.close()
        source.close()

    def test_it_is_looked_at_without_being_changed(self, make_broker: Callable[[], BrokerPlugin]) -> None:
        """Each finding is a verdict and a sentence, and a good set-up has no failure."""
        opened(make_broker()).close()
        found = list(make_broker().findings(lambda: "a stream"))
        assert found
        assert all(isinstance(finding, Finding) for finding in found)
        assert [] == [finding.text for finding in found if finding.verdict == "FAIL"]

    def message(self, content: bytes) -> Message:
        """Return a message as this broker delivers it, to be parked."""
        return Message("a lane", 1, content, "application/json", {})

    def in_order(self, messages: Sequence[Message]) -> list[bytes]:
        """Return their bodies, sorted where the broker keeps no order."""
        bodies = [message.body for message in messages]
        return bodies if self.keeps_order else sorted(bodies)

    def await_messages(self, source: Source, count: int) -> list[Message]:
        """Return so many messages; fails if they do not come in time, or more of them."""
        until, messages = Deadline(self.DEADLINE), list[Message]()
        while len(messages) < count:
            assert not until.passed, f"{len(messages)} of {count} messages after {self.DEADLINE} s"
            messages += source.poll(0.05)
            source.steer(0, lambda: 0)
        assert count == len(messages)
        return messages


def opened(broker: BrokerPlugin) -> Source:
    """Return its source, connected."""
    source = broker.source(lambda: "a stream")
    source.open()
    return source


def body(number: int) -> bytes:
    """Return an event's body."""
    return b'{"type":"task-sent","uuid":"%03d"}' % number


def all_of(messages: Sequence[Message]) -> list[Ack]:
    """Return an acknowledgement for each."""
    return [Ack(message.lane, message.tag, multiple=False) for message in messages]
