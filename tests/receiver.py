"""A real HTTP server for tests that takes webhooks, keeps what it is posted and answers as it is told to."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Receiver:
    """A program of the customer's: what it was posted, and what it answers."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.says = 204
        self.url = ""


@contextmanager
def receiver(host: str = "127.0.0.1", secure: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server on a free port, until the end; over https where it is secure."""
    kept = Receiver()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(kept.says)
            self.send_header("location", kept.url)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer((host, 0), Answers)
    if secure is not None:
        server.socket = secure.wrap_socket(server.socket, server_side=True)
    scheme = "http" if secure is None else "https"
    kept.url = f"{scheme}://{host}:{server.server_address[1]}/hooks?from=purser"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
