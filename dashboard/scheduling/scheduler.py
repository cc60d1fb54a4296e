"""The scheduler: APScheduler's background thread and life cycle, around a tick of our own.

Why not `super()._process_jobs()`: it submits job by job, each with its own commit, forgets a fire
time when anything fails in between, removes jobs whose executor is unknown, and any exception
ends its thread while `running` stays true. Here one transaction claims everything that is due and
nothing that happens in a tick can end the thread.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MODIFIED,
    EVENT_SCHEDULER_SHUTDOWN,
    JobEvent,
    SchedulerEvent,
)
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED
from sqlalchemy.exc import SQLAlchemyError

from dashboard.scheduling import announcements, claims, handover, jobstore, waiting
from dashboard.scheduling.clock import ClockWatch
from dashboard.scheduling.executors import (
    PATIENCE,
    ProcessRunExecutor,
    RunExecutor,
    ThreadRunExecutor,
)
from dashboard.scheduling.leader import Identity, Leadership
from dashboard.scheduling.picking import Picker
from dashboard.scheduling.workforce import Workforce
from dashboard.settings import PROCESSES, THREADS
from dashboard.storage.db import announce, raise_revision
from dashboard.storage.trouble import Trouble

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.history.recorder import Recorder
    from dashboard.scheduling.executors import Claim
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds after which the database is looked at in any case: other processes write too."""

RARE_LOOK = 0.25
"""Seconds between two looks under load at what is rare: cancelled runs, retries to release."""

GAP = 0.010
"""Seconds between two ticks under load. Ticking at every due instant costs four times the CPU."""

BACKLOG_GAP = 0.005
"""The same while runs wait for slots; less when a pool runs dry before."""

RETRY = 0.5
"""Seconds until the next tick after one that failed."""

CLOSING = 1.0
"""Seconds, at most a tenth of the grace period, kept back of it to write how everything ended."""

LEAVING = 5.0
"""Seconds that a last tick, and then history, may take after the runs have been seen to."""


class DashboardScheduler(BackgroundScheduler):
    """A `BackgroundScheduler` whose every firing is a row before it is a call."""

    state: int

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        identity: Identity,
        settings: Settings,
        *,
        version: str,
    ) -> None:
        """Prepare to schedule the jobs of `database`; nothing starts yet."""
        self.database = database
        self.identity = identity
        self.settings = settings
        self.leadership = Leadership(identity, seconds=settings.lease_seconds, version=version)
        self.trouble = Trouble(
            logger, "the scheduler cannot work", over="the scheduler can work again"
        )
        self._recorder = recorder
        self._schedules = jobstore.ScheduleCache()
        self._backlog = False  # queued runs wait for a free slot
        self._doubtful: dict[str, list[Claim]] = {}  # claims whose commit failed
        self._taken_back: list[Claim] = []  # claims that never began, still `running` in the table
        self._look = min(LOOK, settings.lease_seconds / 4)
        self._clock = ClockWatch()
        self._picker = Picker(settings.tag_limits)
        self._cancels_seen = 0.0  # by the monotonic clock: when they were last looked for
        self._released = 0.0  # likewise, what waits for its moment
        self._worked_at = -math.inf  # by the monotonic clock
        self._hot = True  # the last tick found work: look again without asking first
        self._rows = jobstore.TableJobStore(database, settings.executors, settings.vault)
        # APScheduler's own grace is one second, which any busy moment exceeds.
        defaults = {"misfire_grace_time": settings.misfire_grace}
        super().__init__(timezone=UTC, job_defaults=defaults)
        self.add_jobstore(self._rows, "default")
        self.workforce = Workforce(database, identity, settings, look=self._look)
        self._add_executors()
        recorder.when_written(self._history_written)
        self.add_listener(recorder.on_event, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    def _add_executors(self) -> None:
        settings, recorder = self.settings, self._recorder
        for alias, executor in (
            (THREADS, ThreadRunExecutor(settings.threads, settings, recorder)),
            (PROCESSES, ProcessRunExecutor(settings.processes, settings, recorder)),
        ):
            executor.when_free(self._slot_freed)
            self.add_executor(executor, alias)
        for queue, remote in self.workforce.executors().items():
            self.add_executor(remote, queue)

    @property
    def executors(self) -> dict[str, RunExecutor]:
        """The executors of this process, which take claimed runs, by alias."""
        return {
            alias: executor
            for alias, executor in self._executors.items()
            if isinstance(executor, RunExecutor)
        }

    @property
    def works(self) -> bool:
        """Whether this process leads and its last tick did its work, not long ago."""
        alive = time.monotonic() - self._worked_at < self.settings.lease_seconds + LOOK
        return self.leadership.leading and self.trouble.since is None and alive

    @property
    def problem(self) -> str | None:
        """What keeps runs of this process from starting, for people to see."""
        return self.trouble.problem or self._clock.problem or self.workforce.problem

    def wakeup(self) -> None:
        """Look at the database at once."""
        if self._event is not None:
            self._event.set()

    def _slot_freed(self, executor: RunExecutor) -> None:
        """Look at once when queued runs wait and it is worth it.

        While ticks follow each other closely, only a pool that has run dry is worth one more.
        """
        if self._backlog and (not self._hot or not executor.in_flight):
            self.wakeup()

    def _history_written(self) -> None:
        """Look when queued runs wait, perhaps for an instance of their job that just ended."""
        if self._backlog:
            self.wakeup()

    def _any_overfull(self) -> bool:
        return any(executor.overfull for executor in self.executors.values())

    def _process_jobs(self) -> float:
        """Do one tick and return the seconds until the next; never raises."""
        if self.state != STATE_RUNNING:  # also the wake-up that ends the thread comes by here
            return LOOK
        began = time.monotonic()
        self._clock.look()
        try:
            self._stop_cancelled(began)
            if not self._hot and not self._has_work():
                self._worked_at = began
                return self._until_next()
            worked = self._tick()
            self._hot = worked
            if worked:
                gap = BACKLOG_GAP if self._backlog else GAP
                wait = max(0.0, began + gap - time.monotonic())
            else:
                wait = self._until_next()
        except Exception as error:  # noqa: BLE001 -- the thread must live on whatever happens
            self._hot = True
            self.trouble.note(error)
            return RETRY
        self._worked_at = time.monotonic()
        self.trouble.end()
        return wait

    def _stop_cancelled(self, now: float) -> None:
        """End the runs of this process that somebody wants to end, leading or not."""
        busy = [executor for executor in self.executors.values() if executor.in_flight]
        if not busy or (self._hot and now - self._cancels_seen < RARE_LOOK):
            return
        self._cancels_seen = now
        with self.database.read() as session:
            wanted = handover.cancel_asked(session.connection(), self.identity)
        for run_id in wanted:
            for executor in busy:
                executor.stop_run(run_id)

    def _has_work(self) -> bool:
        """Look, without writing, whether a tick would find something to do."""
        with self.database.read() as session:
            if self.leadership.is_due(session):
                return True
            if not self.leadership.leading:
                return False
            if self._any_overfull():
                return True
            next_moment = waiting.next_moment(session)
            if next_moment is not None and next_moment <= datetime.now(UTC):
                return True
            free = any(executor.free > 0 for executor in self.executors.values())
            free = free or self.workforce.waited_for
            return free and handover.anything_queued(session.connection())

    def _until_next(self) -> float:
        """Return the seconds until the next job is due or the next look is."""
        if not self.leadership.leading:
            return self._look
        look = PATIENCE if self._any_overfull() else self._look
        with self.database.read() as session:
            next_moment = waiting.next_moment(session)
        look = self.workforce.next_look(look)
        if next_moment is None:
            return look
        return min(look, max(0.0, (next_moment - datetime.now(UTC)).total_seconds()))

    def _tick(self) -> bool:
        """Claim what is due, hand over what can start; say whether there may be more at once."""
        try:
            self._look_after_workers()
            found = self._claim()
        except BaseException:
            self.leadership.undo()
            raise
        if found is None:
            return False
        self._doubtful, self._taken_back = {}, []
        # Committed: from here on these runs are ours to start, and nobody else's.
        due, handed = found
        for alias, batch in handed.claims.items():
            self._executors[alias].hand_over(batch)
        for event in announcements.of_tick(due, handed):
            self._dispatch_event(event)
        return due.more or due.any or handed.any or handed.unsearched

    def _claim(self) -> tuple[claims.Due, handover.HandOver] | None:
        """Do the tick's transaction; None when somebody else leads or the end has come."""
        with self.database.write(touch=False) as session:
            if not self._lead(session):
                return None
            now = datetime.now(UTC)
            released = self._release(session, now)
            connection = session.connection()
            due = claims.claim_due(
                connection,
                now,
                self._schedules.of,
                process=self.identity.process,
                in_flight=self._in_flight(),
            )
            self._take_back()
            handover.give_back(connection, self._taken_back, self.identity, now)
            doubtful = handover.committed(connection, self._doubtful, self.identity)
            free = {
                alias: executor.room() - len(doubtful.get(alias, ()))
                for alias, executor in self.executors.items()
            }
            remote = self.workforce.room(connection)
            handed = handover.hand_over(connection, now, free | remote, self.identity, self._picker)
            handed.add(doubtful)
            if released or due.any or handed.any or self.leadership.took_over:
                raise_revision(session)
            self._backlog = handed.more or handover.anything_queued(connection)
            self.workforce.note(handed, backlog=self._backlog)
            full = min(free.values()) <= 0
            self._recorder.hold_back(due.more or handed.more or (full and self._backlog))
            self._doubtful = handed.claims
        return due, handed

    def _look_after_workers(self) -> None:
        """Now and then see to the workers, in a transaction of its own.

        Counting runs that ended locks rows in a certain order, once a transaction.
        """
        if not (self.leadership.leading and self.workforce.is_due):
            return
        with self.database.write(touch=False) as session:
            if self._lead(session) and not self.leadership.took_over:
                self.workforce.look_after(session, datetime.now(UTC))

    def _release(self, session: Session, now: datetime) -> bool:
        """Queue retries and resume jobs whose time has come; say whether there were any."""
        clock = time.monotonic()
        if self._hot and clock - self._released < RARE_LOOK:
            return False
        self._released = clock
        return waiting.release(session, now)

    def _in_flight(self) -> list[int]:
        """Return the runs of this process that have not ended, or may yet be started."""
        batches = [executor.in_flight for executor in self.executors.values()]
        batches += [*self._doubtful.values(), self._taken_back]
        return [claim.identity.id for batch in batches for claim in batch]

    def _take_back(self, patience: float = PATIENCE) -> None:
        """Take from the pools what they took ahead and could not begin soon after all."""
        for executor in self.executors.values():
            self._taken_back += executor.take_back(patience)

    def _lead(self, session: Session) -> bool:
        """Hold the lease in this transaction; whoever begins to lead takes over in the same one."""
        if self.state == STATE_STOPPED or not self.leadership.hold(session):
            return False
        if self.leadership.took_over:
            self._take_over(session, datetime.now(UTC))
        return True

    def _take_over(self, session: Session, now: datetime) -> None:
        """Set right what the previous leader left, in the transaction that takes the lease."""
        connection = session.connection()
        interrupted = handover.interrupt_orphans(connection, now, self.identity)
        handover.miss_unreachable(connection, now, self.settings.executors)
        jobstore.recheck_jobs(session, now, self.settings.executors, self.settings.vault)
        logger.info("leading from now on; %d runs were interrupted before", interrupted)

    def resume_job(self, job_id: str, jobstore: str | None = None) -> Any:  # noqa: ARG002
        """Let a paused job fire again, and return it.

        APScheduler's own way removes a job that has no further fire time; here it is finished.
        """
        self._rows.resume_job(job_id)
        self._dispatch_event(JobEvent(EVENT_JOB_MODIFIED, job_id, "default"))
        self.wakeup()
        return self.get_job(job_id)

    def stop(self, grace: float) -> bool:
        """Take in nothing more, let runs end for `grace` seconds, mark the rest interrupted.

        Returns False when runs had to be left behind: their threads still hold the process.
        """
        if self.state == STATE_STOPPED:
            return True
        deadline = time.monotonic() + grace - min(CLOSING, grace / 10)
        self.state = STATE_STOPPED
        logger.info("stopping; runs get up to %g s to end", grace)  # nothing more begins by now
        self.wakeup()
        # A tick ends in milliseconds, unless it waits for a database that somebody else has locked.
        self._thread.join(max(CLOSING, deadline - time.monotonic()))
        self._take_back(patience=0)
        executors = list(self.executors.values())
        ended = min(executor.wait(deadline) for executor in executors)
        if not ended:
            for executor in executors:
                executor.cancel()
        for executor in self._executors.values():
            executor.shutdown(wait=False)
        self._thread.join(LEAVING)
        if not self._thread.is_alive() and self._recorder.flush(timeout=LEAVING):
            self._leave()
        self._dispatch_event(SchedulerEvent(EVENT_SCHEDULER_SHUTDOWN))
        return ended and not self._thread.is_alive()

    def hurry(self) -> None:
        """Cut the grace period of a `stop` under way short."""
        for executor in self.executors.values():
            executor.hurry()

    def shutdown(self, wait: bool = True) -> None:  # noqa: FBT001, FBT002 -- APScheduler's signature
        """Stop as `stop` does: with the grace period of the settings, or with none."""
        if self.state == STATE_STOPPED:
            raise SchedulerNotRunningError
        self.stop(self.settings.shutdown_grace if wait else 0)

    def _leave(self) -> None:
        """Mark what still runs as interrupted and give the lease back."""
        try:
            with self.database.write() as session:
                connection, now = session.connection(), datetime.now(UTC)
                handover.give_back(connection, self._taken_back, self.identity, now)
                handover.interrupt_own(connection, now, self.identity)
                self.leadership.release(session)
                announce(session)
        except SQLAlchemyError:
            # The next leader will find the rows and call them interrupted.
            logger.warning("could not say goodbye to the database", exc_info=True)
