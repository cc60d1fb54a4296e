"""A Celery worker that executes runs: `apscheduler-dashboard worker`.

The main process takes messages, tells the database that it lives and ends the runs of children
that die; each child executes one run at a time and writes what it says and how it ends by itself,
through the same recorder as everywhere. In the database they are one process: the main one.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import psutil
from celery import signals
from celery.worker import state as celery_state
from sqlalchemy.exc import SQLAlchemyError

from dashboard.capture import install_capture
from dashboard.history.recorder import Recorder
from dashboard.runcontext import run_task
from dashboard.runtime import open_database, product_version
from dashboard.scheduling import handover, sending
from dashboard.scheduling.broker import RUN, make_celery, queue_of
from dashboard.scheduling.executors import timed_out
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.presence import Presence
from dashboard.scheduling.workers import import_tasks, kill_group, kill_tree
from dashboard.settings import CELERY
from dashboard.storage.db import Database
from dashboard.storage.models import ProcessKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from dashboard.records import Outcome
    from dashboard.scheduling.executors import Claim
    from dashboard.settings import Settings

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks for runs that are to be ended."""

RETRY = 0.5
"""Seconds until a child asks a database again that is away."""

LAST_WORDS = 5.0
"""Seconds in which what was said is written at the end."""


def work(settings: Settings, queues: Sequence[str], concurrency: int) -> int:
    """Execute runs until SIGTERM or SIGINT and return the exit status."""
    worker = Worker(settings, queues, concurrency)
    return worker.run()


class Worker:
    """The main process of a worker."""

    def __init__(self, settings: Settings, queues: Sequence[str], concurrency: int) -> None:
        """Open the database and prepare to serve `queues` with so many children."""
        for problem in import_tasks(settings):
            logger.error("tasks of %s could not be loaded: %s", problem.source, problem.message)
        executors = [CELERY if queue == "default" else f"{CELERY}:{queue}" for queue in queues]
        self._settings = settings
        self._asked_to_stop = False
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._identity = Identity.of_this_process()
        gate = _fork_gate()
        self._database = open_database(settings, gate=gate)
        self._minder = Minder(self._database, self._identity, gate)
        self._presence = Presence(
            self._database,
            self._identity,
            ProcessKind.WORKER,
            seconds=settings.lease_seconds,
            version=product_version(),
            executors=executors,
            places=concurrency,
        )
        self._app = make_celery(settings)
        self._child = Child(settings, self._identity)
        self._app.task(name=RUN)(self._child.execute)
        self._celery = self._app.Worker(
            hostname=self._identity.process,
            concurrency=concurrency,
            queues=[queue_of(executor) for executor in executors],
            pool="prefork",
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def run(self) -> int:
        """Serve until the end."""
        signals.worker_process_init.connect(self._child.begin, weak=False)
        signals.worker_process_shutdown.connect(self._child.finish, weak=False)
        signals.worker_ready.connect(self._ready, weak=False)
        signals.worker_shutting_down.connect(self._stopping, weak=False)
        signals.task_failure.connect(self._lost, weak=False)
        signals.task_revoked.connect(self._lost, weak=False)
        self._minder.start()
        threading.Thread(target=self._end_in_time, name="grace period", daemon=True).start()
        try:
            self._celery.start()
        except Exception:
            # Some ways to lose a broker end Celery's worker itself, while it clears up.
            logger.exception("Celery's worker has failed")
        self._leave()
        if not self._asked_to_stop:
            _begin_again()
        return int(self._celery.exitcode or 0)

    def _ready(self, **_: Any) -> None:
        """Show that this worker is there, each time it has reached the broker."""
        self._presence.start()
        print("Worker ready\n", end="", flush=True)  # noqa: T201 -- people and programs wait for it

    def _stopping(self, **_: Any) -> None:
        """Note that the end is asked for.

        Celery calls this in its signal handler, so in the middle of whatever the main thread does:
        to start a thread here, or to write to a log, could wait for ever for what that one holds.
        """
        self._asked_to_stop = True
        self._stops.put(None)

    def _end_in_time(self) -> None:
        """Give runs their grace period, then end them: Celery would wait for ever."""
        self._stops.get()
        logger.warning("stopping; runs get up to %g s to end", self._settings.shutdown_grace)
        time.sleep(self._settings.shutdown_grace)
        for _run_id, pid in _children():
            kill_tree(pid)

    def _lost(self, **details: Any) -> None:
        """Note the run of a child that died."""
        arguments = details.get("args") or getattr(details.get("request"), "args", None)
        if arguments and os.getpid() == self._identity.pid:
            self._minder.lost.put(arguments[0])

    def _leave(self) -> None:
        """Write what is left, end what still runs, and be gone from the list of processes."""
        self._minder.stop(LAST_WORDS)
        try:
            with self._database.write() as session:
                handover.interrupt_own(session.connection(), datetime.now(UTC), self._identity)
        except SQLAlchemyError:
            logger.warning("could not say goodbye to the database", exc_info=True)
        self._presence.stop(LAST_WORDS)
        self._database.close()


class Minder:
    """A thread of the main process that ends runs: cancelled ones, and those of dead children."""

    def __init__(
        self, database: Database, identity: Identity, gate: AbstractContextManager[Any]
    ) -> None:
        """Look after the runs of the process `identity`; `gate` keeps from forking meanwhile."""
        self._database = database
        self._identity = identity
        self._gate = gate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="minder", daemon=True)
        self._dead: set[int] = set()
        self.lost: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Runs whose children died."""

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Look once more and end."""
        self._stopping.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        more = True
        while more:
            more = not self._stopping.wait(LOOK)
            try:
                self._look()
            except SQLAlchemyError as error:
                logger.debug("cannot look after the runs: %s", error)

    def _look(self) -> None:
        with self._gate, self._database.read() as session:
            wanted = set(handover.cancel_asked(session.connection(), self._identity))
        for run_id, pid in _children():
            if run_id in wanted:
                kill_tree(pid)
        while not self.lost.empty():
            self._dead.add(self.lost.get())
        if self._dead:
            with self._database.write() as session:
                handover.interrupt_killed(
                    session.connection(), list(self._dead), datetime.now(UTC), self._identity
                )
            self._dead.clear()


class Child:
    """What a child of the worker has: made before it is forked, opened in it."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        """Prepare children that execute runs in the name of `identity`."""
        self._settings = settings
        self._identity = identity
        self._ending = threading.Lock()

    def begin(self, **_: Any) -> None:
        """Open what cannot be shared with the main process."""
        os.setsid()  # a process group of its own can be killed with all that is in it
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        install_capture()
        self._database = Database(self._settings.database_url, pool_size=4)
        self._recorder = Recorder(self._database, self._identity.process)
        self._recorder.start()

    def finish(self, **_: Any) -> None:
        """Write what is left."""
        self._recorder.stop(LAST_WORDS)
        self._database.close()

    def execute(self, run_id: int) -> None:
        """Execute one run, if it is still to be, and return once its end is written."""
        claim = self._take(run_id)
        if claim is None:
            return
        over = threading.Event()
        if claim.timeout is not None:
            threading.Thread(target=self._end_late, args=(claim, over), daemon=True).start()
        outcome = run_task(
            claim.task,
            claim.parameters,
            claim.identity,
            self._recorder,
            self._settings,
            timeout=claim.timeout,
        )
        with self._ending:  # not between the word that it is late and the kill
            over.set()
        self._write(outcome)

    def _end_late(self, claim: Claim, over: threading.Event) -> None:
        """Write that a run has timed out, and end this process with all that the run started."""
        began, start = datetime.now(UTC), time.monotonic()
        if over.wait(claim.timeout):
            return
        with self._ending:
            if over.is_set():
                return
            self._write(timed_out(claim, began, time.monotonic() - start))
            for started in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    started.kill()
            kill_group(os.getpid())

    def _write(self, outcome: Outcome) -> None:
        self._recorder.end(outcome)
        while not self._recorder.flush():
            pass  # the database is away; the next run could not be taken either

    def _take(self, run_id: int) -> Claim | None:
        """Take a run, however long the database is away."""
        now = datetime.now(UTC)
        while True:
            try:
                with self._database.write() as session:
                    return sending.take(session.connection(), run_id, self._identity, now)
            except sending.NotRegistered:
                logger.warning("run %d waits until this worker is known again", run_id)
            except SQLAlchemyError as error:
                logger.warning("run %d cannot be taken yet: %s", run_id, error)
            time.sleep(RETRY)


def _children() -> list[tuple[int, int]]:
    """Return the runs that are being executed, and the process id of the child of each."""
    while True:
        with suppress(RuntimeError):  # Celery's own thread has changed the set meanwhile
            requests = list(celery_state.active_requests)
            break
    return [
        (request.args[0], request.worker_pid)
        for request in requests
        if request.args and request.worker_pid
    ]


def _begin_again() -> NoReturn:
    """Replace this process by a fresh worker: what Celery leaves behind cannot be used again."""
    for child in psutil.Process().children():
        kill_tree(child.pid)
    time.sleep(RETRY)
    os.execv(sys.executable, [sys.executable, "-m", "dashboard", *sys.argv[1:]])  # noqa: S606 -- ourselves


def _fork_gate() -> threading.Lock:
    """Return a lock that is free while this process is forked.

    A thread that is inside the database library at that moment would leave that library's own
    locks taken in the child, for ever.
    """
    gate = threading.Lock()
    os.register_at_fork(
        before=gate.acquire, after_in_parent=gate.release, after_in_child=gate.release
    )
    return gate


def _end_with_parent(parent: int) -> None:
    """End when the main process does, however it ends: its runs are `interrupted` from then on."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    kill_group(os.getpid())
