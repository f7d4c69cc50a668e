"""The example that alerts: each failure is posted once, and a webhook that refuses is not tried for ever."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import workers
from tests.support.example_runs import lines
from tests.support.servers.debian import until
from tests.support.webhook import Webhook


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    with Webhook() as server:
        (tmp_path / "webhook").write_text(f"http://127.0.0.1:{server.server_port}/hook\n")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_each_failure_is_alerted(
    run: workers.Run, webhook: Webhook, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """None is left out while the webhook is away, nor when the example is killed meanwhile; few come twice."""
    arguments = ["--from", run.urls["sqlite"], "--webhook-file", str(tmp_path / "webhook"), "--since", "earliest"]
    arguments += ["--lease", "0.5"]
    failed = run.of("task-failed")
    first = start("alerts", *arguments)
    until(lambda: webhook.refused >= 2, 30, "it has been tried again")
    webhook.accepts = len(failed) // 2
    until(lambda: len(webhook.texts) == webhook.accepts, 30, "half of them are posted")
    refused = webhook.refused
    until(lambda: webhook.refused > refused, 30, "the webhook is away again")
    first.kill()
    first.wait(60)
    webhook.accepts = 1000
    second = start("alerts", *arguments)
    until(lambda: failed <= {text.rpartition(" ")[2] for text in webhook.texts}, 30, "every failure is posted")
    second.send_signal(signal.SIGTERM)
    assert 0 == second.wait(60)
    posted = Counter(text.rpartition(" ")[2] for text in webhook.texts)
    assert failed == set(posted)
    assert sum(posted.values()) <= len(failed) + 1
    assert all("Error(" in text for text in webhook.texts)
    # Those whose start was read by the one that was killed have no name any more.
    named = r"(examples\.demo\.tasks\.(refuse|deliver)|a task) failed on (prefork|threads)@"
    assert all(re.match(named, text) for text in webhook.texts)
    assert webhook.texts[0].startswith("examples.")


def test_a_webhook_that_refuses_is_not_tried_for_ever(
    run: workers.Run, webhook: Webhook, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """One line, exit code 1, nothing committed; the URL, a secret, is not in it."""
    webhook.status = 404
    arguments = ["--from", run.urls["sqlite"], "--webhook-file", str(tmp_path / "webhook"), "--since", "earliest"]
    assert 1 == start("alerts", *arguments, "--group", "refused").wait(90)
    (line,) = lines(tmp_path)
    assert line.startswith("alerts: the webhook refuses it: HTTP Error 404")
    assert "hook/" not in line
    assert 1 == webhook.refused
    webhook.accepts = 1000
    following = start("alerts", *arguments, "--group", "refused")
    until(lambda: len(webhook.texts) == len(run.of("task-failed")), 30, "all are posted, the first one too")
    following.send_signal(signal.SIGTERM)
    assert 0 == following.wait(60)
