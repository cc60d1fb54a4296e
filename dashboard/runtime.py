"""The parts that run beside the pages: database, recorder and scheduler of one process."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from dashboard.alerting.alerting import Alerting
from dashboard.capture import install_capture, uninstall_capture
from dashboard.history.recorder import Recorder
from dashboard.scheduling.host import HostScheduler
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.listener import Listener
from dashboard.scheduling.presence import Presence
from dashboard.scheduling.scheduler import DashboardScheduler
from dashboard.scheduling.workers import import_tasks
from dashboard.services.accounts import FIRST_ACCOUNT, ensure_first_account
from dashboard.services.status import scheduler_status
from dashboard.storage.db import HANGING, Database, create_sqlite_file
from dashboard.storage.migrate import upgrade
from dashboard.storage.models import ProcessKind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from apscheduler.schedulers.base import BaseScheduler

    from dashboard.settings import Settings
    from dashboard.tasks import LoadProblem

logger = logging.getLogger(__name__)

WRITING = 5.0
"""Seconds that each writer gets for its last words when stopping; the database may be away."""

ALERTS = 1.0
"""Seconds that alerts under way get to arrive when stopping; the others are sent later."""

LEAST_HANGING = 2.0
"""Seconds that any process may need between two statements on a busy machine."""

DISTRIBUTION = "apscheduler-dashboard"


@dataclass
class Runtime:
    """What runs in one process; stopped, it can be started again."""

    settings: Settings
    database: Database
    recorder: Recorder
    scheduler: DashboardScheduler
    presence: Presence
    listener: Listener
    alerting: Alerting
    load_problems: list[LoadProblem]
    host: HostScheduler | None = None  # beside ours, in a host app that has one of its own

    def start(self) -> None:
        """Begin to schedule, or to stand by while another process leads."""
        install_capture()
        self.recorder.start()
        self.presence.start()
        self.scheduler.start()
        self.listener.start()
        self.alerting.start()
        if self.host is not None:
            self.host.start()

    @property
    def problem(self) -> str | None:
        """What keeps this process from its work, for people to see."""
        return self.scheduler.problem or self.recorder.trouble.problem

    def wake(self) -> None:
        """Let the schedulers look at the database at once."""
        self.scheduler.wakeup()
        if self.host is not None:
            self.host.wake()

    def stop(self, grace: float | None = None) -> bool:
        """End cleanly within `grace` seconds (the setting's by default) and a moment for writing.

        Returns False when runs had to be left behind. Stopping twice is harmless.
        """
        self.listener.stop()
        if self.host is not None:
            self.host.stop()
        ended = self.scheduler.stop(self.settings.shutdown_grace if grace is None else grace)
        self.presence.stop(timeout=WRITING)
        written = self.recorder.stop(timeout=WRITING)
        self.alerting.stop(timeout=ALERTS)
        if not written:
            logger.error("%d items of history could not be written", self.recorder.backlog)
        uninstall_capture()
        return ended


def product_version() -> str:
    """Return the installed version of the dashboard."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a bare checkout
        return "0+unknown"


def open_database(
    settings: Settings, *, gate: AbstractContextManager[Any] | None = None
) -> Database:
    """Open the database of the settings and bring it to this version's schema."""
    settings.prepare_data_folder()
    create_sqlite_file(settings.database_url)
    # Whoever is frozen in a transaction has to be replaced within twice the lease, too.
    hanging = min(HANGING, max(LEAST_HANGING, settings.lease_seconds))
    database = Database(settings.database_url, hanging=hanging, gate=gate)
    upgrade(database)
    return database


def make_runtime(settings: Settings, host: BaseScheduler | None = None) -> Runtime:
    """Load tasks and open the database; nothing runs yet.

    `host` is a scheduler of the host app's own, whose jobs are shown and handled too.
    """
    problems = import_tasks(settings)
    for problem in problems:
        logger.error("tasks of %s could not be loaded: %s", problem.source, problem.message)
    database = open_database(settings)
    identity = Identity.of_this_process()
    recorder = Recorder(database, identity.process)
    version = product_version()
    scheduler = DashboardScheduler(database, recorder, identity, settings, version=version)
    presence = Presence(
        database, identity, ProcessKind.DASHBOARD, seconds=settings.lease_seconds, version=version
    )
    listener = Listener(database, scheduler.wakeup)
    alerting = Alerting(
        database,
        settings,
        identity.process,
        status=partial(scheduler_status, process=identity.process),
        works=lambda: scheduler.works and recorder.trouble.since is None,
    )
    follower = None if host is None else HostScheduler(host, database, identity)
    runtime = Runtime(
        settings, database, recorder, scheduler, presence, listener, alerting, problems, follower
    )
    presence.tell(lambda: runtime.problem)
    return runtime


def announce_first_account(runtime: Runtime) -> None:
    """Make the first account, and print its password once if it was made up."""
    password = ensure_first_account(runtime.database, runtime.settings)
    if password is not None:
        print(  # noqa: T201 -- for the person who started it, not for the log
            f"First start: sign in as {FIRST_ACCOUNT} with the password {password}", flush=True
        )
