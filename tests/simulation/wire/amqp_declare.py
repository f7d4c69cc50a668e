"""Methods of AMQP's classes exchange and queue, as the server takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.wire import amqp_frames as amqp
from tests.simulation.wire.amqp_frames import Arguments
from tests.simulation.wire.broker import ASKS_FOR_A_RIGHT
from tests.simulation.wire.declared import Binding, Refused

if TYPE_CHECKING:
    from tests.simulation.wire.amqp_channel import AmqpChannel

PASSIVE, DURABLE, EXCLUSIVE, AUTO_DELETE = 1, 2, 4, 8


def take(channel: AmqpChannel, method: amqp.Method, arguments: Arguments) -> None:
    """Take one. Raises Refused."""
    arguments.short()
    if method == (amqp.EXCHANGE, 10):
        _declare_exchange(channel, arguments)
    elif method == (amqp.EXCHANGE, 30):
        destination, source, key = arguments.shortstr(), arguments.shortstr(), arguments.shortstr()
        channel.broker.bind(Binding(source, destination, to_queue=False, key=key))
        channel.write((amqp.EXCHANGE, 31))
    elif method == (amqp.QUEUE, 10):
        _declare_queue(channel, arguments)
    elif method == (amqp.QUEUE, 20):
        name, source, key = arguments.shortstr(), arguments.shortstr(), arguments.shortstr()
        channel.broker.bind(Binding(source, name, to_queue=True, key=key))
        channel.write((amqp.QUEUE, 21))
    elif method == (amqp.QUEUE, 50):
        name, source, key = arguments.shortstr(), arguments.shortstr(), arguments.shortstr()
        channel.broker.may("write", f"queue '{name}'")
        channel.broker.unbind(Binding(source, name, to_queue=True, key=key))
        channel.write((amqp.QUEUE, 51))
    elif method == (amqp.EXCHANGE, 20):
        name = arguments.shortstr()
        channel.broker.may("configure", f"exchange '{name}'")
        channel.broker.delete_exchange(name)
        channel.write((amqp.EXCHANGE, 21))
    elif method == (amqp.QUEUE, 40):
        _delete_queue(channel, arguments.shortstr(), arguments.octet())
    else:
        raise AssertionError(f"method {method} is not known here")


def _declare_exchange(channel: AmqpChannel, arguments: Arguments) -> None:
    name, kind, bits = arguments.shortstr(), arguments.shortstr(), arguments.octet()
    broker = channel.broker
    if bits & PASSIVE:
        broker.exchange(name)
    else:
        broker.declare_exchange(name, kind, auto_delete=bool(bits & 4))
    channel.write((amqp.EXCHANGE, 11))


def _declare_queue(channel: AmqpChannel, arguments: Arguments) -> None:
    name, bits = arguments.shortstr(), arguments.octet()
    broker = channel.broker
    assert not bits & EXCLUSIVE, "no queue of the bridge's is exclusive"
    if bits & PASSIVE:
        if broker.version == ASKS_FOR_A_RIGHT:
            broker.may("configure", f"queue '{name}'")
        queue = broker.queue(name)
    else:
        queue = broker.declare_queue(
            name, arguments.table(), durable=bool(bits & DURABLE), auto_delete=bool(bits & AUTO_DELETE)
        )
    # Without a leader a queue is said to hold nothing.
    count = 0 if broker.stalled else len(queue)
    channel.write((amqp.QUEUE, 11), "sII", name, count, queue.consumed_by + broker.holders(queue))


def _delete_queue(channel: AmqpChannel, name: str, bits: int) -> None:
    broker = channel.broker
    broker.may("configure", f"queue '{name}'")
    count = 0
    if name in broker.queues:
        queue = broker.queues[name]
        if bits & 1 and queue.consumed_by:
            raise Refused(406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' in use")
        if bits & 2 and len(queue):
            raise Refused(406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty")
        broker.operator = channel.connection.operator
        count = broker.delete_queue(name)
        broker.operator = ""
    channel.write((amqp.QUEUE, 41), "I", count)
