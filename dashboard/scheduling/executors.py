"""Where runs are executed: threads of this process, or a pool of worker processes.

They are APScheduler executors that also take runs claimed from the database. How a run ended
leaves as an APScheduler event stamped with its `Outcome`; the recorder listens. Every run handed
over leaves exactly one such event, also when its worker dies.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.base import BaseExecutor
from apscheduler.executors.pool import ThreadPoolExecutor

from dashboard.records import Outcome, RunIdentity
from dashboard.runcontext import TIMED_OUT, run_task, timeout_fingerprint
from dashboard.scheduling.crew import Crew
from dashboard.scheduling.workers import Worker, WorkerDied
from dashboard.tasks import is_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dashboard.records import RunSink
    from dashboard.settings import Settings


AHEAD = 10
"""How many times its capacity a pool takes while its runs are over sooner than the next tick."""

PATIENCE = 0.05
"""Seconds that a run taken ahead may wait for its turn; then it goes back to the queue."""

LAST_WORDS = 1.0
"""Seconds that a worker process gets to end once it has nothing to do any more."""

STOPPED = "The dashboard was stopped, and its grace period ended before the run did."


class Claim(NamedTuple):
    """A run that is committed as running in this process and must now be started."""

    task: str
    parameters: dict[str, Any]
    identity: RunIdentity
    timeout: float | None = None  # seconds it may take


class Asked:
    """Whether a run was asked to end. There is one for each run, and an `Event` is much dearer."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked = False

    def set(self) -> None:
        """Ask it to end."""
        self._asked = True

    def is_set(self) -> bool:
        """Return whether it was asked."""
        return self._asked


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
        self._asked: dict[int, Asked] = {}
        self._idle = threading.Condition()
        self._hurried = False
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

        They will not, and it is as if they had never been here.
        """
        if not self.overfull or time.monotonic() - self._handed_over_at < patience:
            return []
        return self._withdraw()

    def _withdraw(self) -> list[Claim]:
        claims = self._crew.withdraw()
        for claim in claims:
            self._forget(claim)
        return claims

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
            self._asked[claim.identity.id] = Asked()
            self._in_flight[claim.identity.id] = claim
        try:
            self._crew.take(claims)
        except Exception as error:  # noqa: BLE001 -- reported as the runs' own end
            for claim in self._crew.withdraw():
                self._end(claim, _lost(claim, f"It could not be started: {error}"))

    def wait(self, deadline: float) -> bool:
        """Wait until nothing runs any more or the monotonic clock reaches `deadline`."""
        with self._idle:
            self._idle.wait_for(
                lambda: self._hurried or not self._in_flight, max(0.0, deadline - time.monotonic())
            )
            return not self._in_flight

    def hurry(self) -> None:
        """Let nobody wait any longer."""
        with self._idle:
            self._hurried = True
            self._idle.notify_all()

    def stop_run(self, run_id: int) -> None:
        """Ask one run to end; unknown ones have ended already."""
        asked = self._asked.get(run_id)
        if asked is not None:
            asked.set()

    def cancel(self) -> None:
        """Ask all runs to end: the grace period is over."""
        for run_id in list(self._asked):
            self.stop_run(run_id)

    def _prepare(self, threads: str) -> None:
        """Begin with a pool of its own: one that was shut down takes nothing more."""
        self._hurried = False
        self._pool = concurrent.futures.ThreadPoolExecutor(
            self.capacity, thread_name_prefix=threads
        )
        self._crew = Crew(self._pool, self.capacity, self._execute)

    def _execute(self, claim: Claim) -> None:
        try:
            outcome = self._run(claim, self._asked[claim.identity.id])
        except BaseException as error:  # noqa: BLE001 -- reported as the run's own end
            outcome = _lost(claim, f"Its result did not come back: {error!r}")
        self._end(claim, outcome)

    def _run(self, claim: Claim, asked: Asked) -> Outcome:
        """Run to the end; `asked` tells when that is to be soon."""
        raise NotImplementedError  # pragma: no cover -- abstract

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
        self._asked.pop(claim.identity.id, None)
        self._in_flight.pop(claim.identity.id, None)
        if not self._in_flight:
            with self._idle:
                self._idle.notify_all()


class ThreadRunExecutor(RunExecutor, ThreadPoolExecutor):
    """Runs in threads of this process.

    A thread cannot be stopped from outside: a run that is asked to end goes on until its task
    looks at `current_run().cancelled`.
    """

    ahead = AHEAD

    def __init__(self, capacity: int, settings: Settings, sink: RunSink) -> None:
        """Make a pool of `capacity` threads whose runs speak to `sink`."""
        RunExecutor.__init__(self, capacity, settings)
        self._sink = sink
        self._prepare("run")

    def start(self, scheduler: Any, alias: str) -> None:
        """Begin anew, perhaps after a shutdown."""
        super().start(scheduler, alias)
        self._prepare("run")

    def _run(self, claim: Claim, asked: Asked) -> Outcome:
        return run_task(
            claim.task,
            claim.parameters,
            claim.identity,
            self._sink,
            self._settings,
            cancellation=asked,
            timeout=claim.timeout,
        )

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 -- APScheduler's signature
        """Take no more runs."""
        self._withdraw()
        self._pool.shutdown(wait=wait, cancel_futures=True)


class ProcessRunExecutor(RunExecutor):
    """Runs in worker processes, which are started when runs need them and used again.

    Each running run has a thread here that waits for its worker. A run that is asked to end has its
    worker killed, and everything the worker has started; other runs do not notice.
    """

    def __init__(self, capacity: int, settings: Settings, sink: RunSink) -> None:
        """Use at most `capacity` processes, whose runs speak to `sink`."""
        super().__init__(capacity, settings)
        self._sink = sink
        self._workers = threading.Lock()
        self._prepare("wait")

    def start(self, scheduler: Any, alias: str) -> None:
        """Begin anew, perhaps after a shutdown."""
        super().start(scheduler, alias)
        self._prepare("wait")

    def _prepare(self, threads: str) -> None:
        super()._prepare(threads)
        self._idle_workers: list[Worker] = []
        self._busy_workers: dict[int, Worker] = {}
        self._stopping = self._closed = False

    def _run(self, claim: Claim, asked: Asked) -> Outcome:
        """Run a claim in a worker and wait for its end."""
        try:
            worker = self._take_worker(claim)
        except WorkerDied as died:
            return _lost(claim, f"It could not be started. {died}")
        began, start = datetime.now(UTC), time.monotonic()
        try:
            # Whoever asks from here on finds the worker and kills it.
            if not asked.is_set():
                what = (claim.task, claim.parameters, claim.identity)
                return worker.run(*what, self._sink, claim.timeout)
            reason = STOPPED
        except TimeoutError:
            worker.kill()
            return timed_out(claim, began, time.monotonic() - start)
        except WorkerDied as died:
            reason = str(died)
        finally:
            self._give_back(claim, worker)
        if asked.is_set() and not self._stopping:
            return _cancelled(claim, began, time.monotonic() - start)
        return _lost(claim, STOPPED if self._stopping else reason, began)

    def _take_worker(self, claim: Claim) -> Worker:
        """Take an idle worker, or a new one in its place when it is dead or must not be used."""
        with self._workers:
            worker = self._idle_workers.pop() if self._idle_workers else None
        if worker is not None and (is_isolated(claim.task) or not worker.alive):
            worker.end(LAST_WORDS)
            worker = None
        worker = worker or Worker(self._settings)
        with self._workers:
            self._busy_workers[claim.identity.id] = worker
        return worker

    def _give_back(self, claim: Claim, worker: Worker) -> None:
        with self._workers:
            del self._busy_workers[claim.identity.id]
            used_up = is_isolated(claim.task) or self._closed
            if worker.alive and not used_up:
                self._idle_workers.append(worker)
                return
        worker.end(LAST_WORDS)

    def stop_run(self, run_id: int) -> None:
        """End one run by killing its worker and what that has started."""
        super().stop_run(run_id)
        with self._workers:  # nobody else gets this worker meanwhile
            worker = self._busy_workers.get(run_id)
            if worker is not None:
                worker.kill()

    def cancel(self) -> None:
        """End the worker processes; their runs end as interrupted."""
        self._stopping = True
        super().cancel()

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 -- APScheduler's signature
        """Take no more runs and let the workers go."""
        with self._workers:
            self._closed = True
        self._withdraw()
        self._pool.shutdown(wait=wait, cancel_futures=True)
        with self._workers:
            workers, self._idle_workers = self._idle_workers, []
        for worker in workers:
            worker.dismiss()
        for worker in workers:
            worker.end(LAST_WORDS)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Refuse plain APScheduler jobs: those belong to a host's own executors."""
        message = f"job {job.id!r} is not a job of the dashboard ({len(run_times)} run times)"
        raise TypeError(message)


def _lost(claim: Claim, reason: str, began: datetime | None = None) -> Outcome:
    now = datetime.now(UTC)
    return Outcome(
        run_id=claim.identity.id,
        state="interrupted",
        started_at=began or now,
        finished_at=now,
        duration=None,
        error_message=reason,
    )


def timed_out(claim: Claim, began: datetime, seconds: float) -> Outcome:
    """Return how a run ended whose process was killed `seconds` after it began."""
    told = f"It ran longer than its timeout of {claim.timeout:g} s, so its process was killed."
    return Outcome(
        run_id=claim.identity.id,
        state="failed",
        started_at=began,
        finished_at=began + timedelta(seconds=seconds),
        duration=seconds,
        error_type=TIMED_OUT,
        error_message=told,
        fingerprint=timeout_fingerprint(claim.task),
    )


def _cancelled(claim: Claim, began: datetime, seconds: float) -> Outcome:
    return Outcome(
        run_id=claim.identity.id,
        state="cancelled",
        started_at=began,
        finished_at=began + timedelta(seconds=seconds),
        duration=seconds,
    )
