"""Connection by AMQP to one URL: kombu parses the URL and connects, then the `amqp.Connection` itself is used.

Not the `kombu.Connection`: it reconnects on access, and a reconnected one has no consumers and says nothing.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed, PreconditionFailed
from kombu.connection import Connection

from celery_event_bridge.brokers.rabbitmq.bounded import CALL_TIMEOUT, BoundedConnection
from celery_event_bridge.brokers.rabbitmq.topology import explain
from celery_event_bridge.contract import secret_files
from celery_event_bridge.contract.broker import BrokerUnavailable, RefusedForGood
from celery_event_bridge.contract.secrets import hide_in_url
from celery_event_bridge.contract.values import with_remedy

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

AnswerT = TypeVar("AnswerT")
NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""Reasons of OpenSSL's, 3.0 and newer, for an answer that is no TLS."""

HEARTBEAT = 10
"""Seconds. Nothing in the loop blocks for as long as half of it."""
CONNECT_TIMEOUT = 5.0
TCP_USER_TIMEOUT = 18
"""Linux's number of the socket option. py-amqp sets it to a second, too little for a broker under load."""


_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
_IN_USE: dict[str, str] = {}
"""Texts of BRIDGE_BROKER_URL as they were loaded, and what has replaced each in its file since."""


class LoginRefused(BrokerUnavailable):
    """The broker does not know the user, or the password."""


def connect(settings: Settings, url: str, *, role: str, heartbeat: int = HEARTBEAT) -> amqp.Connection:
    """Connect to `url`; `role` is what the broker's operators see as part of the connection's name.

    A login that is refused is tried once more where the URL comes from a file whose content is another one by now: the
    password was rotated. Raises BrokerUnavailable with a reason that contains no password.
    """
    text = _IN_USE.get(settings.broker_url, settings.broker_url)
    position = settings.broker_urls.index(url) if url in settings.broker_urls else 0
    try:
        return _connect(settings, _url_at(text, position), role, heartbeat)
    except LoginRefused:
        fresh = secret_files.fresh(text)
        if fresh == text:
            # Said anew, with why the file does not help, if so.
            raise LoginRefused(_login_refused(settings, _url_at(text, position))) from None
    connection = _connect(settings, _url_at(fresh, position), role, heartbeat)
    _IN_USE[settings.broker_url] = fresh
    return connection


def connect_to_any(settings: Settings, *, role: str) -> tuple[amqp.Connection, str]:
    """Connect to the first URL that answers, and return that one too. Raises BrokerUnavailable of the first of all."""
    failure: BrokerUnavailable | None = None
    for url in settings.broker_urls:
        try:
            return connect(settings, url, role=role), url
        except BrokerUnavailable as exc:
            failure = failure or exc
    assert failure is not None, "the settings have a URL at least"
    raise failure


def ask(connection: amqp.Connection, question: Callable[[amqp.Channel], AnswerT], action: str = "") -> AnswerT:
    """Do something on a channel of its own, since an error closes it. Raises BrokerUnavailable."""
    with translated(action):
        channel = connection.channel()
        answer = question(channel)
        channel.close()
    return answer


def url_in_use(settings: Settings) -> str:
    """Return the first URL, with the password that the last login has worked with."""
    return _url_at(_IN_USE.get(settings.broker_url, settings.broker_url), 0)


def _named(settings: Settings) -> str:
    return secret_files.named(_IN_USE.get(settings.broker_url, settings.broker_url), "BRIDGE_BROKER_URL")


def _login_refused(settings: Settings, url: str) -> str:
    return f"{hide_in_url(url)}: login refused: check user and password in {_named(settings)}"


def _check_options(settings: Settings) -> str:
    return f"check what follows the ? in {_named(settings)}, and BRIDGE_BROKER_TRANSPORT_OPTIONS"


def _url_at(text: str, position: int) -> str:
    urls = [each.strip() for each in text.split(";") if each.strip()]
    return urls[min(position, len(urls) - 1)]


def _connect(settings: Settings, url: str, role: str, heartbeat: int) -> amqp.Connection:
    try:
        connection = Connection(  # type: ignore[no-untyped-call]
            url,
            heartbeat=heartbeat,
            connect_timeout=CONNECT_TIMEOUT,
            ssl=tls_options(settings, url),
            transport_options=_transport_options(settings, role),
        )
        connection.transport.Connection = BoundedConnection
        established: amqp.Connection = connection.transport.establish_connection()
    except (TypeError, AttributeError) as exc:  # an option that the client does not know, or of a wrong type
        unknown = _UNKNOWN.search(str(exc))
        why = f"there is no option {unknown[1]}" if unknown else "an option is of a wrong type"
        raise RefusedForGood(f"{hide_in_url(url)}: {why}: {_check_options(settings)}") from exc
    except AccessRefused as exc:
        raise LoginRefused(_login_refused(settings, url)) from exc
    except NotAllowed as exc:
        said = with_remedy(explain(exc), "check the vhost and the user's rights to it")
        raise BrokerUnavailable(f"{hide_in_url(url)}: {said}") from exc
    except (AMQPError, OSError) as exc:
        raise BrokerUnavailable(f"{hide_in_url(url)}: cannot connect: {_why(exc, settings)}") from exc
    except UnicodeError as exc:  # of the resolver, which may repeat the name
        raise BrokerUnavailable(f"{hide_in_url(url)}: the host's name is none: check {_named(settings)}") from exc
    except (ValueError, NotImplementedError) as exc:  # whose text may repeat a part of the URL, or an option
        raise RefusedForGood(f"{hide_in_url(url)}: an option has a wrong value: {_check_options(settings)}") from exc
    established.transport.sock.settimeout(CALL_TIMEOUT)
    return established


def _why(exc: Exception, settings: Settings) -> str:
    """Return what was wrong with a connection, and what to do."""
    name = _named(settings)
    if isinstance(exc, ssl.SSLError) and exc.reason in NO_TLS:
        return f"no TLS on that port: give amqp:// in {name}, or RabbitMQ's port for TLS, mostly 5671"
    return with_remedy(explain(exc), f"is RabbitMQ there, and {name} right?")


class translated:  # noqa: N801 - it is used as a function; made of one, it costs four times as much, in each turn
    """Turns what py-amqp raises when a connection or channel ends into BrokerUnavailable."""

    __slots__ = ("_action",)

    def __init__(self, action: str = "") -> None:
        self._action = action

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        """Raise BrokerUnavailable for what the client has raised."""
        if exc is None:
            return
        if isinstance(exc, UnicodeDecodeError):  # RabbitMQ cuts its reasons at 255 bytes, also within a character
            raise BrokerUnavailable(f"{self._action}: the broker's reason cannot be read".removeprefix(": ")) from exc
        if isinstance(exc, (AMQPError, OSError)):
            code = exc.reply_code if isinstance(exc, AMQPError) else 0
            made = RefusedForGood if code == PreconditionFailed.code else BrokerUnavailable
            raise made(f"{self._action}: {explain(exc)}".removeprefix(": "), code or 0) from exc


def abandon(connection: amqp.Connection | None) -> None:
    """Close the socket, whatever state it is in, without a word to the broker. Never raises."""
    transport: Any = getattr(connection, "_transport", None)
    sock = getattr(transport, "sock", None)
    if sock is not None:
        # Closed first: collect() would unwrap TLS, which waits for an answer of a peer that may be gone.
        transport.sock = None
        try:
            sock.close()
        except OSError:
            pass
    if connection is not None:
        try:
            connection.collect()
        except (AMQPError, OSError, AttributeError):
            pass


def tls_options(settings: Settings, url: str) -> dict[str, Any] | bool:
    """Value that kombu takes as `ssl` for this URL; made anew for each, since it names the host to verify."""
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        return False
    options: dict[str, Any] = {
        "ca_certs": _path(settings.broker_tls_ca),
        "certfile": _path(settings.broker_tls_cert),
        "keyfile": _path(settings.broker_tls_key),
        "cert_reqs": ssl.CERT_REQUIRED if settings.broker_tls_verify else ssl.CERT_NONE,
    }
    if settings.broker_tls_verify:
        options["server_hostname"] = parts.hostname or "localhost"
    return {name: value for name, value in options.items() if value is not None}


def _path(value: object) -> str | None:
    return None if value is None else str(value)


def _transport_options(settings: Settings, role: str) -> dict[str, Any]:
    given = dict(settings.broker_transport_options)
    sockets = {TCP_USER_TIMEOUT: 30_000} | _socket_settings(given.pop("socket_settings", {}))
    properties = {"connection_name": f"celery-event-bridge {role}"} | given.pop("client_properties", {})
    return {"socket_settings": sockets, "client_properties": properties} | given


def _socket_settings(given: dict[str, Any]) -> dict[int | str, Any]:
    """JSON has no integer keys, socket options have."""
    return {int(name) if name.isdigit() else name: value for name, value in given.items()}
