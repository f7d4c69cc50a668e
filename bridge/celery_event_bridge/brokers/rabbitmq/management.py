"""RabbitMQ's management API, read only: what AMQP does not show, which is policies, bindings and consumers."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote, urlsplit

from celery_event_bridge.brokers.rabbitmq.connection import url_in_use
from celery_event_bridge.brokers.rabbitmq.migration_marks import Route, marks
from celery_event_bridge.brokers.rabbitmq.presence import foreign
from celery_event_bridge.brokers.rabbitmq.topology import WEIGHT
from celery_event_bridge.contract import Finding, notices, secret_files
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.secrets import hide_secrets

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import QueueSpec, Topology

ANSWER = 5.0
"""Seconds for one answer."""
LARGEST = 4 * 2**20
"""Bytes of an answer that are read."""
WATCH_INTERVAL = 60.0
"""Seconds between two looks at the policies while a bridge runs."""
UNKNOWN_INTERVAL = 5.0
"""Seconds between two while it does not know them yet."""
SAID_EVERY = 86_400.0
DROPS = "past it RabbitMQ drops messages, and events with them"
HARMFUL: Mapping[str, str] = {
    "expires": "the queue is removed, with all that it holds, once it has had no consumer for so many ms",
    "message-ttl": "what waits longer than so many ms is dropped, or leaves for the dead-letter route",
    "max-length": DROPS,
    "max-length-bytes": DROPS,
    "delivery-limit": "what was returned so often, as by crashing bridges, is dropped",
}
"""Keys of a policy that make a queue lose, and how."""


class Management:
    """API as one vhost's monitor."""

    def __init__(self, settings: Settings, timeout: float = ANSWER) -> None:
        """Users and passwords that BRIDGE_MANAGEMENT_URL does not have are the broker URL's."""
        assert settings.management_url is not None
        self._timeout = timeout
        # Made for each look: a rotated password is in the file, and in the URL that the last login worked with.
        parts, broker = urlsplit(secret_files.fresh(settings.management_url)), urlsplit(url_in_use(settings))
        user = unquote(parts.username or broker.username or "guest")
        password = unquote(parts.password or broker.password or "guest")
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        name = secret_files.named(settings.management_url, "BRIDGE_MANAGEMENT_URL")
        self._where = f"{name}={self._base}" if name == "BRIDGE_MANAGEMENT_URL" else f"{name}: {self._base}"
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._vhost = quote(unquote(broker.path[1:]) or "/", safe="")

    def queue(self, name: str) -> Mapping[str, Any] | None:
        """Return what it says of a queue; None if there is no such queue. Raises BrokerUnavailable."""
        found = self._get(f"queues/{self._vhost}/{quote(name, safe='')}")
        return found if isinstance(found, dict) else None

    def exists(self, exchange: str) -> bool:
        """Return whether there is such an exchange. Raises BrokerUnavailable."""
        return isinstance(self._get(f"exchanges/{self._vhost}/{quote(exchange, safe='')}"), dict)

    def is_bound(self, name: str, exchange: str, *, kind: Literal["q", "e"] = "q", key: str = "#") -> bool:
        """Tell whether a queue, or an exchange (`e`), is bound to an exchange with that key. Raises BrokerUnavailable.

        With `#` everything that is published to it reaches the queue.
        """
        found = self._get(f"bindings/{self._vhost}/e/{quote(exchange, safe='')}/{kind}/{quote(name, safe='')}")
        return isinstance(found, list) and any(binding.get("routing_key") == key for binding in found)

    def bound_to(self, exchange: str) -> list[str]:
        """Return the names of the queues that are bound to an exchange. Raises BrokerUnavailable."""
        found = self._get(f"exchanges/{self._vhost}/{quote(exchange, safe='')}/bindings/source")
        bindings = found if isinstance(found, list) else []
        return sorted({each["destination"] for each in bindings if each.get("destination_type") == "queue"})

    def bindings(self, queue: str) -> list[tuple[str, str, Mapping[str, Any]]]:
        """Return exchange, routing key and arguments of each binding of a queue. Raises BrokerUnavailable."""
        found = self._get(f"queues/{self._vhost}/{quote(queue, safe='')}/bindings")
        bindings = found if isinstance(found, list) else []
        return [(each["source"], each["routing_key"], each.get("arguments") or {}) for each in bindings]

    def _get(self, path: str) -> Any:
        headers = {"Authorization": self._authorization}
        request = urllib.request.Request(f"{self._base}/api/{path}", headers=headers)  # noqa: S310 - the same
        answers: list[Any] = []
        # A time-out of a socket's is none for an answer whose lines trickle in.
        asking = threading.Thread(target=lambda: answers.append(self._answer(request)), name="management", daemon=True)
        asking.start()
        asking.join(self._timeout)
        if not answers:
            raise BrokerUnavailable(f"{self._where}: no answer within {self._timeout:g} s")
        if isinstance(answers[0], BrokerUnavailable):
            raise answers[0]
        return answers[0]

    def _answer(self, request: urllib.request.Request) -> Any:
        """Return what it answers, None if there is no such thing, or the error to raise."""
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:  # noqa: S310 - has to be http
                return json.loads(answer.read(LARGEST))
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 404:
                return None
            login = "check user and password in it, and the user's tag `monitoring`"
            remedy = login if exc.code in (401, 403) else exc.reason
            return BrokerUnavailable(f"{self._where}: it answers {exc.code}: {remedy}")
        except (http.client.InvalidURL, UnicodeError):  # whose text may repeat a part of the URL
            return BrokerUnavailable(f"{self._where}: the URL, or what it answers, cannot be read")
        except (OSError, ValueError, http.client.HTTPException) as exc:  # the last one of what does not speak HTTP
            reason = hide_secrets(str(getattr(exc, "reason", exc)))
            return BrokerUnavailable(f"{self._where}: no answer: {reason}")


def harm(queue: QueueSpec, found: Mapping[str, Any]) -> Iterator[str]:
    """Say what policies change of a queue, by what the management API has of it; nothing if they do no harm."""
    effective = found.get("effective_policy_definition") or {}
    names = [f"{kind.replace('_', ' ')} {found[kind]!r}" for kind in ("policy", "operator_policy") if found.get(kind)]
    for key, how in HARMFUL.items():
        value = effective.get(key)
        own = queue.arguments.get(f"x-{key}")
        # Of two numbers, the queue's own argument and a policy's, RabbitMQ goes by the smaller one.
        wins = own is None or (isinstance(value, int) and value < int(own))
        if value is not None and wins:
            yield (
                f"queue {queue.name!r} has {key}={value} by {' and '.join(names) or 'a policy'}: {how}; keep our "
                "queues out of it, by a policy of a higher priority for them alone"
            )


def findings(settings: Settings, topology: Topology) -> Iterator[Finding]:
    """Lines on what the management API shows of the queues, a line each."""
    if settings.management_url is None:
        yield Finding("ok", "policies and the binding: not seen, BRIDGE_MANAGEMENT_URL is unset")
        return
    management = Management(settings)
    try:
        harmful = False
        for queue in topology.queues:
            for text in harm(queue, management.queue(queue.name) or {}):
                harmful = True
                yield Finding("FAIL", text)
        if not harmful:
            yield Finding("ok", "policies: none that changes what our queues keep")
        for queue in topology.consumed:
            for text in foreign(queue.name, management.queue(queue.name) or {}):
                yield Finding("warn", text)
        if management.queue(topology.live.name) is not None:
            yield (
                Finding("ok", f"queue {topology.name}: bound to {topology.exchange}")
                if _is_bound(management, topology)
                else Finding(
                    "FAIL",
                    f"queue {topology.name} is not bound to exchange {topology.exchange}: not every event reaches it; "
                    "`queues declare` binds it, and so does `run` with BRIDGE_DECLARE=true",
                )
            )
    except BrokerUnavailable as exc:
        yield Finding("FAIL", str(exc))


def _is_bound(management: Management, topology: Topology) -> bool:
    """Tell whether every event reaches a live queue. Raises BrokerUnavailable."""
    if (shards := topology.hash_exchange) is None:
        return management.is_bound(topology.live.name, topology.exchange)
    return management.is_bound(shards, topology.exchange, kind="e") and all(
        management.is_bound(queue.name, shards, key=WEIGHT) for queue in topology.lives
    )


def route(settings: Settings, topology: Topology) -> Route | None:
    """Return whether events reach the live queue; None without an exchange. Raises BrokerUnavailable."""
    management = Management(settings)
    if not management.exists(topology.exchange):
        return None
    if _is_bound(management, topology):
        return Route.BOUND
    _, of_queue = marks(topology.name)
    is_moved = any(management.is_bound(name, topology.exchange) for name in management.bound_to(of_queue))
    return Route.MOVED if is_moved else Route.UNBOUND


def tell_of_policies(settings: Settings, topology: Topology, told: set[str]) -> float | None:
    """Tell, once a day, of each policy that changes what our queues keep, and once of each that does no longer.

    `told` is what was so at the last look. Returns in how many seconds to look again, where that is soon: the API knows
    a queue that was just declared before it knows its policies. Never raises.
    """
    unknown = False
    try:
        management = Management(settings)
        harms: set[str] = set()
        for queue in topology.queues:
            found = management.queue(queue.name)
            unknown |= found is not None and "effective_policy_definition" not in found
            harms.update(harm(queue, found or {}))
        for text in sorted(harms):
            notices.tell("policy", text, subject=text, every=SAID_EVERY)
        for text in told - harms:
            gone = text.partition(": ")[0].replace(" has ", " no longer has ", 1)
            notices.over("policy", gone, subject=text)
        told.clear()
        told.update(harms)
        for queue in topology.consumed:
            for text in foreign(queue.name, management.queue(queue.name) or {}):
                notices.tell("competitor", text, subject=queue.name)
    except BrokerUnavailable as exc:
        notices.tell("policy", f"policies cannot be seen: {exc}", subject="away", every=SAID_EVERY, count=0)
    return UNKNOWN_INTERVAL if unknown else None
