"""Where runs are executed: threads of this process, or a pool of worker processes.

They are APScheduler executors that also take runs claimed from the database. How a run ended
leaves as an APScheduler event stamped with its `Outcome`; the recorder listens. Every run handed
over leaves exactly one such event, also when its worker dies.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.pool import ThreadPoolExecutor

from dashboard.records import Outcome, RunIdentity
from dashboard.runcontext import run_task
from dashboard.scheduling.workers import RecordPipe, run_in_worker, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from dashboard.records import RunSink
    from dashboard.settings import Settings

logger = logging.getLogger(__name__)

THREADS = "threads"
PROCESSES = "processes"
EXECUTOR_NAMES = (THREADS, PROCESSES)

AHEAD = 5
"""How many times its capacity a pool takes while its runs are over sooner than the next tick."""

PATIENCE = 0.05
"""Seconds that a run taken ahead may wait for its turn; then it goes back to the queue."""

LAST_WORDS = 1.0
"""Seconds that worker processes get to end once they have nothing to do any more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is committed as running in this process and must now be started."""

    task: str
    parameters: dict[str, Any]
    identity: RunIdentity


class RunExecutor(BaseExecutor):
    """What threads and processes share: counting slots and reporting how runs end."""

    ahead = 1  # times its capacity that it takes at most

    def __init__(self, capacity: int, settings: Settings) -> None:
        """Run at most `capacity` runs at once."""
        super().__init__()
        self.capacity = capacity
        self._allowance = capacity
        self._last_batch = 0
        self._handed_over_at = 0.0
        self._settings = settings
        self._in_flight: dict[int, Claim] = {}
        self._futures: dict[int, Future[Outcome]] = {}
        self._idle = threading.Condition()
        self._on_free: Callable[[RunExecutor], None] = lambda _: None

    @property
    def free(self) -> int:
        """How many more runs could start now."""
        return self.capacity - len(self._in_flight)

    @property
    def overfull(self) -> bool:
        """Whether runs that were taken ahead wait for their turn."""
        return len(self._in_flight) > self.capacity

    def room(self) -> int:
        """Return how many runs to take over now: what is free, and some ahead of very short ones.

        A pool that ran dry since the last tick has stood still, so it gets twice as much; one in
        which runs wait gets half.
        """
        if not self._in_flight and self._last_batch >= self._allowance:
            self._allowance = min(self._allowance * 2, self.capacity * self.ahead)
        elif self.overfull:
            self._allowance = max(self._allowance // 2, self.capacity)
        return self._allowance - len(self._in_flight)

    def take_back(self, patience: float = PATIENCE) -> list[Claim]:
        """Return the runs that have waited here for `patience` seconds and have not begun.

        They will not: a cancelled future is never called.
        """
        if not self.overfull or time.monotonic() - self._handed_over_at < patience:
            return []
        claims = dict(self._in_flight)
        return [claims[run_id] for run_id, future in list(self._futures.items()) if future.cancel()]

    @property
    def in_flight(self) -> list[Claim]:
        """The runs that were handed over and have not ended."""
        return list(self._in_flight.values())

    def when_free(self, callback: Callable[[RunExecutor], None]) -> None:
        """Call `callback` with this executor after each run that ends."""
        self._on_free = callback

    def hand_over(self, claims: Sequence[Claim]) -> None:
        """Start runs. Their rows say `running` already, so none may be forgotten here."""
        self._last_batch, self._handed_over_at = len(claims), time.monotonic()
        for claim in claims:
            self._in_flight[claim.identity.id] = claim
        for claim in claims:
            try:
                future = self._submit(claim)
            except Exception as error:  # noqa: BLE001 -- reported as the run's own end
                self._end(claim, _lost(claim, f"It could not be started: {error}"))
            else:
                self._futures[claim.identity.id] = future
                future.add_done_callback(partial(self._finished, claim))

    def wait(self, deadline: float) -> bool:
        """Wait until nothing runs any more or the monotonic clock reaches `deadline`."""
        with self._idle:
            return self._idle.wait_for(
                lambda: not self._in_flight, max(0.0, deadline - time.monotonic())
            )

    def _submit(self, claim: Claim) -> Future[Outcome]:
        """Hand one run to the pool."""
        raise NotImplementedError  # pragma: no cover -- abstract

    def _finished(self, claim: Claim, future: Future[Outcome]) -> None:
        if future.cancelled():  # taken back: it is as if it had never been here
            self._forget(claim)
            return
        try:
            outcome = future.result()
        except BrokenProcessPool:
            outcome = _lost(claim, "Its worker process died. It may have been killed or crashed.")
        except BaseException as error:  # noqa: BLE001 -- reported as the run's own end
            outcome = _lost(claim, f"Its result did not come back: {error!r}")
        self._end(claim, outcome)

    def _end(self, claim: Claim, outcome: Outcome) -> None:
        identity = claim.identity
        succeeded = outcome.state == "succeeded"
        event = JobExecutionEvent(
            EVENT_JOB_EXECUTED if succeeded else EVENT_JOB_ERROR,
            identity.job_id,
            "default",
            identity.scheduled_at,
            retval=outcome.result,
            traceback=outcome.traceback,
        )
        event.outcome = outcome
        event.run_id = outcome.run_id
        event.started_at = outcome.started_at
        event.duration = outcome.duration
        try:
            self._scheduler._dispatch_event(event)  # noqa: SLF001 -- as APScheduler's executors do
        finally:
            self._forget(claim)
            self._on_free(self)

    def _forget(self, claim: Claim) -> None:
        with self._idle:
            self._in_flight.pop(claim.identity.id, None)
            self._futures.pop(claim.identity.id, None)
            self._idle.notify_all()


class ThreadRunExecutor(RunExecutor, ThreadPoolExecutor):
    """Runs in threads of this process."""

    ahead = AHEAD

    def __init__(self, capacity: int, settings: Settings, sink: RunSink) -> None:
        """Make a pool of `capacity` threads whose runs speak to `sink`."""
        RunExecutor.__init__(self, capacity, settings)
        self._sink = sink
        self._prepare()

    def start(self, scheduler: Any, alias: str) -> None:
        """Begin with a pool of its own: one that was shut down takes nothing more."""
        super().start(scheduler, alias)
        self._prepare()

    def _prepare(self) -> None:
        self._stopping = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(self.capacity, thread_name_prefix="run")

    def _submit(self, claim: Claim) -> Future[Outcome]:
        return self._pool.submit(
            run_task,
            claim.task,
            claim.parameters,
            claim.identity,
            self._sink,
            self._settings,
            cancellation=self._stopping,
        )

    def cancel(self) -> None:
        """Ask all runs to end. A thread cannot be stopped from outside; its task has to look."""
        self._stopping.set()

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 -- APScheduler's signature
        """Take no more runs."""
        self._pool.shutdown(wait=wait, cancel_futures=True)


class ProcessRunExecutor(RunExecutor):
    """Runs in worker processes, which are started with the first run that needs them."""

    def __init__(self, capacity: int, settings: Settings, sink: RunSink) -> None:
        """Make a pool of at most `capacity` processes whose runs speak to `sink`."""
        super().__init__(capacity, settings)
        self._sink = sink
        self._context = multiprocessing.get_context("spawn")
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._pipe: RecordPipe | None = None

    def _submit(self, claim: Claim) -> Future[Outcome]:
        arguments = (claim.task, claim.parameters, claim.identity)
        if self._pool is not None:
            try:
                return self._pool.submit(run_in_worker, *arguments)
            except BrokenProcessPool:
                logger.warning("a worker process died; the pool is replaced")
                self.shutdown(wait=False)
        self._pool = self._make_pool()
        return self._pool.submit(run_in_worker, *arguments)

    def _make_pool(self) -> concurrent.futures.ProcessPoolExecutor:
        self._pipe = RecordPipe(self._context, self._sink)
        return concurrent.futures.ProcessPoolExecutor(
            self.capacity,
            mp_context=self._context,
            initializer=start_worker,
            initargs=(self._settings, self._pipe.for_workers),
        )

    def cancel(self) -> None:
        """End the worker processes; their runs end as interrupted."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):  # noqa: SLF001 -- no public way before 3.14
                process.kill()

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 -- APScheduler's signature
        """Take no more runs, let the workers go, and pass on what they have said."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)
            self._pool = None
        if self._pipe is not None:
            self._pipe.close(LAST_WORDS)
            self._pipe = None

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Refuse plain APScheduler jobs: those belong to a host's own executors."""
        message = f"job {job.id!r} is not a job of the dashboard ({len(run_times)} run times)"
        raise TypeError(message)


def _lost(claim: Claim, reason: str) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        run_id=claim.identity.id,
        state="interrupted",
        started_at=now,
        finished_at=now,
        duration=None,
        error_message=reason,
    )
