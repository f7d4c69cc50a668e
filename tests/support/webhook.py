"""A webhook that refuses what it is told to refuse."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Alerts -----------------------------------------------------------------------------------------------------------


class Webhook(ThreadingHTTPServer):
    """Keeps what it has accepted: so many posts, and answers the others with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 503
        self.accepts = 0
        self.refused = 0
        self.texts: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        accepted = len(self.server.texts) < self.server.accepts
        if accepted:
            self.server.texts.append(json.loads(body)["text"])
        else:
            self.server.refused += 1
        self.send_response(200 if accepted else self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not here."""
