"""`/livez`, `/readyz`, `/healthz` and `/metrics`, from a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from celery_event_bridge.contract import Finding

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from celery_event_bridge.observe.status import Status

TEXT = "text/plain; charset=utf-8"
SERVER = "celery-event-bridge"
"""Name in the header `Server`."""
OK, STANDS_BY = b"ok\n", b"ok: this bridge stands by\n"
ANSWER = 2.0
"""Seconds to wait for whoever has the address already."""
Answer = tuple[int, str, bytes]
"""Status code, content type, body."""


class Metrics(Protocol):
    """Source of what is shown under /metrics."""

    registry: CollectorRegistry


@contextmanager
def serve(address: tuple[str, int] | None, status: Status, metrics: Metrics) -> Iterator[str]:
    """Answer HTTP at the address while inside; yields it with the real port, or `off`.

    Raises OSError, with one line for the operator, where the address cannot be had.
    """
    if address is None:
        yield "off"
        return
    pages = {
        "/livez": lambda: _verdict(status.live()),
        "/readyz": lambda: _verdict(status.ready(), STANDS_BY if status.stands_by else OK),
        "/healthz": lambda: _verdict(status.healthy()),
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)),
    }
    server = _listen(address, pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True)
    thread.start()
    try:
        yield f"{address[0]}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def finding(address: tuple[str, int] | None) -> Finding:
    """Return whether `serve` could have the address now, for `check`; a bridge that runs has it, and answers."""
    if address is None:
        return Finding("ok", "health and metrics: off")
    where = f"{address[0]}:{address[1]}"
    try:
        _listen(address, {}).server_close()
    except OSError as exc:
        if _is_a_bridge(address):
            return Finding(
                "ok", f"health and metrics at {where}: a bridge is running there; another needs its own port"
            )
        return Finding("FAIL", str(exc))
    return Finding("ok", f"health and metrics at {where}: free")


def _is_a_bridge(address: tuple[str, int]) -> bool:
    connection = HTTPConnection(*address, timeout=ANSWER)
    try:
        connection.request("HEAD", "/livez")
        return connection.getresponse().getheader("Server", "").startswith(SERVER)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _verdict(reason: str | None, good: bytes = OK) -> Answer:
    return (200, TEXT, good) if reason is None else (503, TEXT, f"{reason}\n".encode())


def _listen(address: tuple[str, int], pages: dict[str, Callable[[], Answer]]) -> ThreadingHTTPServer:
    class Handler(_Handler):
        answers = pages

    server_class = _Server6 if ":" in address[0] else _Server
    try:
        return server_class(address, Handler)
    except OSError as exc:
        raise OSError(
            f"BRIDGE_HTTP={address[0]}:{address[1]}: cannot listen there: {exc.strerror}: "
            "choose another port, 0 for any free one, or off"
        ) from exc


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: a client that went away is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], Answer]]
    timeout = 5
    server_version = SERVER
    sys_version = ""

    def do_GET(self) -> None:
        page = self.answers.get(self.path.partition("?")[0])
        code, content_type, body = (
            page() if page else (404, TEXT, b"there are /livez, /readyz, /healthz and /metrics\n")
        )
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log no request."""
