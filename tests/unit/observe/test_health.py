"""Health over HTTP: ready, live and healthy, each with its reason; the pages and where they are."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from celery_event_bridge.observe import http as pages, status as status_module
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.status import Status


def test_ready_says_why_not(status: Status) -> None:
    """The broker first, then each sink that is away and no other; a queue that cannot be consumed, and a stop."""
    assert "broker: not connected yet" == status.ready()
    status.sink_reasons["redis"] = "OOM"
    assert "broker: not connected yet; redis: OOM" == status.ready()
    status.broker_reason = None
    assert "redis: OOM" == status.ready()
    status.sink_reasons |= {"stdout": None, "sqlite": "full"}
    assert "redis: OOM; sqlite: full" == status.ready()
    del status.sink_reasons["sqlite"]
    status.sink_reasons["redis"] = None
    assert status.ready() is None
    status.held_up = "queue 'overflow' cannot be consumed: what is in it waits"
    assert status.held_up == status.ready()
    status.held_up, status.stopping = None, True
    assert "stopping" == status.ready()


def test_healthy_once_it_has_been_ready(status: Status) -> None:
    """Whoever waits for a start sees why it does not come; an outage after it is no reason to replace anything."""
    assert "broker: not connected yet" == status.healthy()
    status.broker_reason = None
    status.sink_reasons["redis"] = None
    assert status.healthy() is None
    status.sink_reasons["redis"] = "OOM"
    status.broker_reason = "gone"
    assert status.healthy() is None
    status.turned_at -= 100
    assert "the loop has not turned for 100 s" == status.healthy()


def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{address}{path}", method=method), timeout=5
        ) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


def test_pages(metrics: Metrics, status: Status) -> None:
    """Health with its reason, and metrics."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        assert (200, "ok\n") == get(address, "/livez")
        assert (503, "broker: not connected yet\n") == get(address, "/readyz")
        status.broker_reason = None
        assert (200, "ok\n") == get(address, "/readyz?verbose=1")
        code, text = get(address, "/metrics")
        assert (200, True) == (code, "celery_bridge_broker_connected 1.0" in text)
        assert "_created" not in text
    with pytest.raises(urllib.error.URLError):
        get(address, "/livez")


def test_http_may_be_off(metrics: Metrics, status: Status) -> None:
    """Nothing listens then."""
    with pages.serve(None, status, metrics) as address:
        assert "off" == address


def test_a_loop_that_stands_still_is_neither_live_nor_ready(metrics: Metrics, status: Status) -> None:
    """Both pages say for how long; a minute to the second is still alive."""
    status.broker_reason = None
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        status.turned_at = time.monotonic() - status_module.STALLED_AFTER + 5
        assert (200, 200) == (get(address, "/livez")[0], get(address, "/readyz")[0])
        status.turned_at = time.monotonic() - status_module.STALLED_AFTER - 1
        for path in ("/livez", "/readyz"):
            code, text = get(address, path)
            assert (503, "the loop has not turned for 61 s\n") == (code, text)


def test_a_stop_makes_it_unready_and_not_dead(metrics: Metrics, status: Status) -> None:
    """It must not be killed while it finishes what is in hand."""
    status.broker_reason, status.stopping = None, True
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        assert (503, "stopping\n") == get(address, "/readyz")
        assert (200, "ok\n") == get(address, "/livez")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nothing"])
def test_head_is_get_without_the_page(metrics: Metrics, status: Status, path: str) -> None:
    """The same code, type and length, and nothing behind them."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        answers = []
        for method in ("GET", "HEAD"):
            with closing(http.client.HTTPConnection(address, timeout=5)) as connection:
                connection.request(method, path)
                answer = connection.getresponse()
                body = answer.read()
                announced = int(answer.headers["Content-Length"])
                answers.append((answer.status, answer.headers["Content-Type"], announced, len(body)))
        (code, kind, announced, length), head = answers
    assert announced == length > 0
    assert (code, kind, 0) == (*head[:2], head[3])
    assert length == pytest.approx(head[2], rel=0.01)  # the numbers in metrics change from one to the next


def test_after_the_headers_of_head_nothing_follows(metrics: Metrics, status: Status) -> None:
    """On the wire, where a client that reuses its connection would take a page for the next answer."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as answer:
            connection.sendall(b"HEAD /livez HTTP/1.0\r\n\r\n")
            assert answer.read().endswith(b"Content-Length: 3\r\n\r\n")


def test_a_page_that_is_not_there_names_those_that_are(metrics: Metrics, status: Status) -> None:
    """So that nobody has to look them up; other methods are refused."""
    with pages.serve(("127.0.0.1", 0), status, metrics) as address:
        code, text = get(address, "/")
        assert (404, True) == (code, all(path in text for path in ("/livez", "/readyz", "/healthz", "/metrics")))
        assert 501 == get(address, "/livez", "POST")[0]


def test_a_port_that_is_taken_is_one_line(metrics: Metrics, status: Status) -> None:
    """Of the setting, the reason and the ways out; a name that is no host's as well."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=r"BRIDGE_HTTP=127\.0\.0\.1:") as failure:
            pages.serve(("127.0.0.1", port), status, metrics).__enter__()
    assert (
        f"BRIDGE_HTTP=127.0.0.1:{port}: cannot listen there: Address already in use: "
        "choose another port, 0 for any free one, or off"
    ) == str(failure.value)
    with pytest.raises(OSError, match=r"\ABRIDGE_HTTP=no such host:1: cannot listen there: [^\n]+\Z"):
        pages.serve(("no such host", 1), status, metrics).__enter__()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_it_listens_on_ipv6(metrics: Metrics, status: Status) -> None:
    """`[::1]:0` is an address like any other."""
    with pages.serve(("::1", 0), status, metrics) as address:
        port = int(address.rpartition(":")[2])
        assert (200, "ok\n") == get(f"[::1]:{port}", "/livez")
