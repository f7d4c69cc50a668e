"""Certificates of the pages, and their renewal."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Protocol

from tests.support.servers.debian import ROOT
from tests.support.terminal.page import repeated
from tests.support.terminal.pages import configuration
from tests.support.terminal.terminal import Terminal
from tests.support.terminal.world import World

TLS, RIGHTS = "docs/how-to/tls.md", "docs/how-to/rights.md"
HERE = "DNS:localhost,DNS:127.0.0.1,IP:127.0.0.1"
"""Names of servers here."""
READY = 'curl --silent --fail "$BRIDGE_HTTP/readyz"'


class Removable(Protocol):
    """A server."""

    def remove(self) -> None:
        """End it."""


def of_server(language: str, containing: str, folder: Path) -> str:
    """Return what the page says of a server's side, with the folder of here."""
    return configuration(ROOT / TLS, language, containing).replace("/etc/bridge-tls", str(folder / "tls"))


def serial(source: str, folder: Path) -> str:
    """Return the serial number of a certificate that a command prints."""
    command = f"{source} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    done = subprocess.run(["bash", "-c", command], cwd=folder / "tls", capture_output=True, text=True, timeout=60)
    assert done.stdout, f"{source}: no certificate: {done.stderr}"
    return done.stdout


def served(port: int, folder: Path) -> str:
    """Serial number of the certificate that a server shows now."""
    ours = "-CAfile ca.pem -cert bridge.pem -key bridge.key"
    return serial(f"openssl s_client -connect 127.0.0.1:{port} {ours}", folder)


class Renewal:
    """Steps of a test that see a certificate renewed on a server, and a bridge go on by its new one."""

    def __init__(self, name: str, port: int, folder: Path, end: str) -> None:
        self._name, self._port, self._folder, self._end = name, port, folder, end
        self._before = serial(f"cat {name}.pem", folder)

    def before(self, _world: World, _terminal: Terminal) -> None:
        assert self._before == served(self._port, self._folder)

    def after(self, terminal: Terminal) -> None:
        """With all connections cut, or the server restarted, a moment ago."""
        now = serial(f"cat {self._name}.pem", self._folder)
        assert self._before != now
        assert now == served(self._port, self._folder)
        metric = f'celery_bridge_reconnects_total.end="{self._end}". [1-9]'
        repeated(terminal, f"curl --silent \"$BRIDGE_HTTP/metrics\" | grep '{metric}'")
        repeated(terminal, READY)
