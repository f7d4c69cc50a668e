"""A play of the kind `pubsub`: what was published is nobody's until somebody has heard it."""

from __future__ import annotations

import base64
import json

from celery_event_bridge.forward.parker import TRY_AGAIN
from tests.simulation.messages import Published
from tests.simulation.play import EVERY, Play
from tests.simulation.promises import Broken
from tests.simulation.pubsub.pubsub_kind import PubSubKind

SOON, LATE = 5.0, 8.0
"""Seconds after the last fault from which on, and up to which, what is published is looked for."""
AT_ONCE = 1.5
"""Seconds within which it is stored then, or parked."""


class PubSubPlay(Play):
    """See the module's text."""

    kind: PubSubKind

    def _round(self) -> None:
        """Publish one at least, in most plays: so it shows which times are lost, and which are not."""
        if self.kind.is_lively:
            self.publish(1, plain=True)
        super()._round()

    def publish(self, count: int, *, junk: bool = False, expired: bool = False, plain: bool = False) -> list[Published]:
        """Publish so many messages, and return them; none where Redis is away."""
        taken: list[Published] = []
        servers, truth, names = self.kind.servers, self.kind.truth, self.kind.names
        for _ in range(count):
            if (server := servers.target()) is None:
                break
            self._number += 1
            one = self._plain() if plain else self._drawn(junk=junk)
            if one.junk:  # alike to the byte, two are one where they are published again
                blanks = b"".join(b"\t" if self._number >> bit & 1 else b" " for bit in range(16))
                one = one._replace(body=one.body + blanks)
            self.oracle.publishes(one)
            payload = self._sealed(one)
            servers.published += 1
            truth.publishes(one, payload, self.world.now, server, servers.published)
            channel = names.again if self.world.chance(0.03) else names.base + b"/task.sent"
            if channel == names.again:
                server.publish(channel, [b"message", channel, payload], len(payload) + 100)
            else:
                server.publish(channel, payload, len(payload) + 100)
            self.oracle.published += 1
            self.oracle.events += len(one.events)
            taken.append(one)
        return taken

    def _sealed(self, one: Published) -> bytes:
        if one.junk and self.world.chance(0.3):
            return b"no envelope, %d" % one.number
        envelope = {
            "body": base64.b64encode(one.body).decode(),
            "content-type": one.content_type,
            "content-encoding": "utf-8",
            "headers": dict(one.headers),
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": str(one.number),
                "delivery_info": {"exchange": "celeryev", "routing_key": "task.sent"},
            },
        }
        return json.dumps(envelope).encode()

    def _run(self) -> None:
        world, kind = self.world, self.kind
        for card in self.cards:
            world.after(card.at, self._play, card)
        world.after(0.0, self._round)
        world.run(kind.seconds)
        world.say("cards", "all is over")
        kind.heal()
        for replica in self.replicas:
            replica.process.thaw()
        self._forwards_soon()
        world.run(world.now + kind.recovery)
        if any(replica.status.unparkable_messages for replica in self.replicas):
            world.run(world.now + TRY_AGAIN + 1.0)
        for replica in self.replicas:
            if not kind.consumes(replica):
                raise Broken(f"held up: {replica.name} hears nothing {kind.recovery:g} s after the last fault")
            replica.check_rest()
        windows = [replica.source.window for replica in self.replicas]  # type: ignore[attr-defined]
        kind.truth.finish(windows, gaps=kind.servers.tells_truth, late=kind.servers.latest)
        if kind.is_exact:
            kind.truth.judge_told()

    def _forwards_soon(self) -> None:
        """Raise Broken where what is published a while after the last fault is not stored, or is there twice."""
        world, over = self.world, self.world.now
        late: list[Published] = []
        while world.now < over + LATE:
            some = self.publish(2, plain=True)
            if world.now >= over + SOON:
                late += some
            world.run(world.now + EVERY)
        world.run(world.now + AT_ONCE)
        for message in late:
            if owed := self.oracle.owed(message):
                raise Broken(f"held up: message {message.number} is {owed}, {SOON:g} s after the last fault")
            if any(self.kind.stream.counts[event] > 1 for event in message.events):
                raise Broken(f"twice: message {message.number}, published when nothing is wrong")
