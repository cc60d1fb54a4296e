"""Whoever gets the alerts: a real HTTP server that keeps what it is sent."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Receiver:
    """What arrived; `answers` are the statuses of the next answers, 200 after the last."""

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    go_on: threading.Event = field(default_factory=threading.Event)
    """Until it is set, no request is answered; it is set from the beginning."""

    def __post_init__(self) -> None:
        self.go_on.set()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was posted, in order."""
        return [json.loads(body) for method, _, _, body in list(self.requests) if method == "POST"]

    @property
    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]

    def wait_for(self, *events: str) -> list[dict[str, Any]]:
        """Wait until so many messages are there, and see that these are the first."""
        wait_until(lambda: len(self.messages) >= len(events))
        assert self.events[: len(events)] == list(events)
        return self.messages[: len(events)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port of this machine."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                return  # the sender died in the middle: that is no message
            receiver.requests.append((self.command, self.path, dict(self.headers), body))
            receiver.go_on.wait(PATIENCE)
            self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        do_GET = do_POST  # noqa: N815 -- http.server's own names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that is gone, or was killed, is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
