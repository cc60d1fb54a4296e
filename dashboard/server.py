"""Serving alone: one process with pages and scheduler in it, ended by a signal."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from cheroot.server import HeaderReader, HTTPConnection, HTTPRequest
from cheroot.wsgi import Server

from dashboard.app import make_app
from dashboard.demo import add_demo
from dashboard.runtime import announce_first_account, make_runtime
from dashboard.web.frontdoor import address_of

if TYPE_CHECKING:
    from types import FrameType

    from dashboard.runtime import Runtime
    from dashboard.settings import Settings

logger = logging.getLogger(__name__)

WRITING = 5.0
"""Seconds, after the grace period or a second signal, in which it is written how runs ended.

More would not help: the database is locked or away. Less could be one pause of a busy machine.
"""

THREADS = 32
"""Requests served at once; polls are answered in a millisecond, so this serves many viewers."""


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT and return the exit status.

    Stopping takes no new runs at once, lets running ones end within the grace period while the
    pages stay up, writes what is queued for history, and ends. A second signal cuts the grace
    short. Raises `OSError` when the address cannot be used.
    """
    stopping = _Signals()
    _warn_of_open_doors(settings)
    runtime = make_runtime(settings)
    server = _make_server(settings, runtime)
    server.prepare()  # fails at once where the address is taken
    try:
        announce_first_account(runtime)
        if settings.demo:
            add_demo(runtime.database, settings)
        ended = _serve_until(stopping, server, runtime)
    finally:
        server.stop()
        runtime.database.close()
    logging.shutdown()
    sys.stdout.flush()
    if not ended:
        # Threads cannot be ended from outside, and the interpreter would wait for them for ever.
        os._exit(0)
    return 0


def _serve_until(stopping: _Signals, server: Server, runtime: Runtime) -> bool:
    """Serve pages and run jobs until a signal comes; False when runs had to be left behind."""
    host, port = server.bind_addr[:2]
    shown = f"[{host}]" if ":" in host else host
    runtime.start()
    threading.Thread(target=server.serve, name="pages", daemon=True).start()
    print(  # noqa: T201 -- people and programs wait for this line; in one piece, it stays one
        f"Listening on http://{shown}:{port}\n", end="", flush=True
    )
    stopping.wait()
    return stopping.during(runtime, runtime.settings.shutdown_grace)


def _warn_of_open_doors(settings: Settings) -> None:
    """Tell loudly that passwords would go over the network as anybody can read them."""
    address = address_of(settings.host)
    local = settings.host == "localhost" or (address is not None and address.is_loopback)
    if not (local or settings.behind_tls or settings.trusted_proxies):
        logger.warning(
            "listening on %s without TLS: PASSWORDS AND PAGES CAN BE READ ON THE NETWORK. Put a"
            " proxy with TLS before it and set DASHBOARD_PUBLIC_URL and DASHBOARD_TRUSTED_PROXIES"
            " (docs/SECURITY.md)",
            settings.host,
        )


def _make_server(settings: Settings, runtime: Runtime) -> Server:
    server = Server(
        (settings.host, settings.port),
        make_app(runtime),
        numthreads=THREADS,
        server_name="dashboard",  # in place of the server's product and version
        request_queue_size=128,
        timeout=10,
        shutdown_timeout=1,
    )
    server.ConnectionClass = _Connection
    server.max_request_header_size = 64 * 1024
    server.max_request_body_size = 4 * 1024 * 1024
    return server


class _Headers(HeaderReader):
    """Reads headers, but none such as X_Forwarded_For: in WSGI they pass for X-Forwarded-For.

    A proxy that replaces what a client says under the one name lets the other through. Cheroot's
    own reader for this cannot deal with its own names, which are bytes.
    """

    def _allow_header(self, key_name: bytes) -> bool:
        return b"_" not in key_name


class _Request(HTTPRequest):
    header_reader = _Headers()


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request


class _Signals:
    """SIGTERM and SIGINT counted: the first asks to stop, the second to hurry, a third to leave."""

    def __init__(self) -> None:
        # A handler runs between any two steps of the main thread, so also in the middle of a wait.
        # Whoever waits for an Event then holds its lock, and set() would wait for that for ever;
        # put() is made for this: https://docs.python.org/3/library/queue.html#simplequeue-objects
        self._received: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._received.put(number)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the next signal and return whether it came in time; one that is there has."""
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                # A wait without end would keep Windows from ever delivering the signal.
                self._received.get(timeout=min(left, 3600))
            except Empty:
                if not left:
                    return False
            else:
                return True

    def during(self, runtime: Runtime, grace: float) -> bool:
        """Stop the runtime within its grace period; False when runs had to be left behind.

        After a second signal it only writes what is left; nobody waits for it after a third.
        """
        result: list[bool] = []
        worker = threading.Thread(target=lambda: result.append(runtime.stop(grace)), daemon=True)
        worker.start()
        deadline, hurried = time.monotonic() + grace + WRITING, False
        while worker.is_alive() and time.monotonic() < deadline:
            if not self.wait(0.05):
                continue
            if hurried:
                break
            hurried, deadline = True, time.monotonic() + WRITING
            runtime.scheduler.hurry()
        return bool(result and result[0])
