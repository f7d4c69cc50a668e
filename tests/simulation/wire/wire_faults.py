"""Cards of the kind `wire`: what befalls connections, frames, queues, exchanges and rights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from tests.simulation import faults
from tests.simulation.faults import Card, Cards
from tests.simulation.wire.broker import EXCHANGE, Broker
from tests.simulation.wire.declared import Binding

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.wire.amqp_channel import AmqpChannel
    from tests.simulation.wire.amqp_server import AmqpConnection

FROM_OTHERS = (
    "RabbitMQ restarted",
    "leader lost",
    "alarm",
    "dead letters refused",
    "dead letters doubled",
    "RabbitMQ slow",
)
RARE = ("RabbitMQ restarted", "leader lost", "alarm", "binding removed", "exchange deleted", "right withdrawn")
RIGHTS = ("configure", "write", "read", "login")
ENDS = ((320, "CONNECTION_FORCED - Closed via management plugin"), (541, "INTERNAL_ERROR"))
"""Reasons for which a connection is closed."""
NEVER = 30.0
"""Seconds from which on a client is not told at all that its peer is gone."""
ChosenT = TypeVar("ChosenT")


def _cut(play: Play, card: Card) -> None:
    if connection := _connection(play, card):
        connection.cut("connection reset")


def _cut_frames(play: Play, card: Card) -> None:
    """Cut one behind the so manyth frame from now on, of either side, or within the next."""
    if connection := _connection(play, card):
        frames = int(card.seconds(1, 60))
        if _bit(card, 0):
            connection.reads = frames
        else:
            connection.writes, connection.half = frames, _bit(card, 1)


def _half_open(play: Play, card: Card) -> None:
    if connection := _connection(play, card):
        seconds = card.seconds(0.1, 60.0)
        connection.cut("is gone without a word for", noticed_after=seconds if seconds < NEVER else None)


def _silence(play: Play, card: Card) -> None:
    if connection := _connection(play, card):
        play.world.say("RabbitMQ", "has a silent line to", connection.client)
        connection.line.silent = True
        play.world.after(card.seconds(0.05, 60.0), connection.line.resume)


def _cut_off(play: Play, card: Card) -> None:
    """Let nothing through between a replica and RabbitMQ, and no new connection either."""
    replica, seconds = faults.one(play, card), card.seconds(0.1, 40.0)
    play.world.say(replica.name, "is cut off for", seconds)
    play.world.unreachable[replica.name] = max(play.world.unreachable.get(replica.name, 0.0), play.world.now + seconds)
    for connection in _broker(play).connections:
        if connection.client == replica.name:
            connection.line.silent = True
            play.world.after(seconds, connection.line.resume)


def _trickle(play: Play, card: Card) -> None:
    if connection := _connection(play, card):
        connection.line.crumbs += int(card.seconds(20, 3000))


def _close_connection(play: Play, card: Card) -> None:
    if connection := _connection(play, card):
        code, text = ENDS[_bit(card, 0)]
        connection.refuse(code, text)


def _delete_queue(play: Play, card: Card) -> None:
    """Delete one, whatever it holds; every second is declared anew at once, and its consumers are not told."""
    broker = _broker(play)
    live, overflow = broker.name, f"{broker.name}.overflow"
    often = [name for name in (live, live, overflow, overflow) if name in broker.queues]
    if name := _chosen([*sorted(broker.queues), *often], card):
        if card.much < 0.5 or not broker.declares_itself:
            broker.replace_queue(name)
        else:
            broker.delete_queue(name)


def _unbind(play: Play, card: Card) -> None:
    broker = _broker(play)
    play.world.say("RabbitMQ", "loses the binding")
    broker.unbind(Binding(EXCHANGE, broker.name, to_queue=True, key="#"))


def _delete_exchange(play: Play, card: Card) -> None:
    """Delete an exchange; a worker declares its own anew, and nobody the bindings."""
    broker = _broker(play)
    names = [name for name in broker.exchanges if name and (name != EXCHANGE or card.much < 0.7)]
    if name := _chosen(names, card):
        play.world.say("RabbitMQ", "loses the exchange", name)
        broker.delete_exchange(name)
        if name == EXCHANGE:
            play.world.after(card.seconds(0.001, 5.0), broker.have_exchange)


def _time_out(play: Play, card: Card) -> None:
    """End a channel that has held something for too long, or its consumer alone, as later versions do."""
    if channel := _channel(play, card, with_something_in_hand=True):
        if _bit(card, 0):
            channel.refuse(406, f"PRECONDITION_FAILED - delivery acknowledgement on channel {channel.number} timed out")
        else:
            play.world.say("RabbitMQ", "takes back what is in hand of", channel.connection.client)
            channel.take_back()


def _cancel(play: Play, card: Card) -> None:
    if channel := _channel(play, card):
        play.world.say("RabbitMQ", "cancels a consumer of", channel.connection.client, channel.queue.name)
        channel.lose_consumer()


def _close_channel(play: Play, card: Card) -> None:
    if channel := _channel(play, card):
        channel.refuse(404, "NOT_FOUND - the queue's process is gone")


def _withdraw(play: Play, card: Card) -> None:
    broker, right = _broker(play), RIGHTS[int(card.who * len(RIGHTS))]
    play.world.say("RabbitMQ", "withdraws the right to", right)
    broker.denied[right] = broker.denied.get(right, 0) + 1
    play.world.after(card.seconds(0.1, 20.0), broker.grant, right)


def _nack(play: Play, card: Card) -> None:
    _broker(play).nacks += 1 + int(card.much * 3)


CARDS: Cards = {
    **{name: faults.OF_RABBITMQ[name] for name in FROM_OTHERS},
    "connection cut": _cut,
    "connection cut at a frame": _cut_frames,
    "connection half open": _half_open,
    "line silent": _silence,
    "replica cut off": _cut_off,
    "bytes trickle": _trickle,
    "connection closed": _close_connection,
    "channel closed": _close_channel,
    "consumer timed out": _time_out,
    "consumer cancelled": _cancel,
    "queue deleted": _delete_queue,
    "binding removed": _unbind,
    "exchange deleted": _delete_exchange,
    "right withdrawn": _withdraw,
    "parking nacked": _nack,
}


def _broker(play: Play) -> Broker:
    return cast("Broker", play.kind.rabbit)


def _bit(card: Card, number: int) -> bool:
    """Return one of some bits that have nothing to do with whom the card meets."""
    return bool(int(card.who * (1 << (20 + number))) & 1)


def _chosen(all_: Sequence[ChosenT], card: Card) -> ChosenT | None:
    return all_[int(card.who * len(all_))] if all_ else None


def _connection(play: Play, card: Card) -> AmqpConnection | None:
    return _chosen(_broker(play).connections, card)


def _channel(play: Play, card: Card, *, with_something_in_hand: bool = False) -> AmqpChannel | None:
    channels = [
        channel
        for connection in _broker(play).connections
        for channel in connection.numbered.values()
        if channel.open and (channel.unacknowledged if with_something_in_hand else channel.consuming or card.much < 0.3)
    ]
    return _chosen(channels, card)
