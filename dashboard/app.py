"""The composition root of the web: a Flask app of our own, or an extension in somebody else's."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from flask import Flask

from dashboard.runtime import announce_first_account, make_runtime
from dashboard.settings import load_settings
from dashboard.web import init_web
from dashboard.web.state import DashboardState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apscheduler.schedulers.base import BaseScheduler

    from dashboard.runtime import Runtime
    from dashboard.settings import Settings
    from dashboard.web.state import Granted


_starting: ContextVar[bool] = ContextVar("dashboard_starting", default=True)


@contextmanager
def not_started() -> Iterator[None]:
    """Let dashboards that are made inside the block start no scheduler: a command needs none."""
    token = _starting.set(False)
    try:
        yield
    finally:
        _starting.reset(token)


def make_app(runtime: Runtime) -> Flask:
    """Return a Flask app of our own that serves the pages of `runtime`."""
    app = Flask(__name__, static_folder=None)
    app.secret_key = runtime.settings.load_secret_key()
    Dashboard(runtime=runtime, own_app=True).init_app(app)
    return app


class Dashboard:
    """The Flask extension: `Dashboard(app)` adds the pages and starts a scheduler beside them.

    Any number of processes may do so: one leads, the others stand by. An app without a secret key
    gets the dashboard's: the tokens of forms are kept in the app's session.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        scheduler: BaseScheduler | None = None,
        settings: Settings | None = None,
        prefix: str = "/dashboard",
        runtime: Runtime | None = None,
        own_app: bool = False,
        user: Callable[[], Granted] | None = None,
        sign_in_url: str | None = None,
    ) -> None:
        """Prepare the dashboard under `prefix`; with an `app`, add it there at once.

        `scheduler` is one of the app's own: its jobs are shown and handled too, and it stays the
        app's to start and to stop. `user`, called in each request, says who is signed in to the
        host app: a user name, or a name and a role, or None. Then nobody signs in here, and
        strangers are sent to `sign_in_url`.
        """
        self._scheduler = scheduler
        self._settings = settings
        self._prefix = "" if own_app else prefix.rstrip("/")
        self._runtime = runtime
        self._own_app = own_app
        self._user = user
        self._sign_in_url = sign_in_url
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the pages to `app`; a runtime that was not given is made and started."""
        runtime = self._runtime
        if runtime is None:
            runtime = make_runtime(self._settings or load_settings(), self._scheduler)
            if _starting.get():
                app.secret_key = app.secret_key or runtime.settings.load_secret_key()
                if self._user is None:
                    announce_first_account(runtime)
                runtime.start()
                stop_at_exit(runtime)
        state = DashboardState(
            settings=runtime.settings,
            database=runtime.database,
            wake=runtime.wake,
            process=runtime.scheduler.identity.process,
            recorder_backlog=lambda: runtime.recorder.backlog,
            problem=lambda: runtime.problem,
            load_problems=tuple(runtime.load_problems),
            user=self._user,
            sign_in_url=self._sign_in_url,
        )
        init_web(app, state, prefix=self._prefix, own_app=self._own_app)


def create_app(settings: Settings | None = None) -> Flask:
    """Return the dashboard as a WSGI app of its own: `gunicorn 'dashboard:create_app()'`.

    Settings come from the environment unless given. The scheduler runs beside the pages and ends
    with the process.
    """
    runtime = make_runtime(settings or load_settings())
    announce_first_account(runtime)
    runtime.start()
    stop_at_exit(runtime)
    return make_app(runtime)


def stop_at_exit(runtime: Runtime) -> None:
    """Let `runtime` stop with its process, whoever ends that: gunicorn, say.

    Plain `atexit` comes too late: before it, the interpreter waits for the threads of runs.
    """
    threading._register_atexit(_stop, runtime)  # type: ignore[attr-defined] # noqa: SLF001 -- as concurrent.futures does


def _stop(runtime: Runtime) -> None:
    if not runtime.stop():
        # Threads cannot be ended from outside, and the interpreter would wait for them for ever.
        logging.shutdown()
        os._exit(0)
