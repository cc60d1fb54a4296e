"""A host's own APScheduler under the dashboard: its jobs as rows, its events as runs.

One thread carries everything in both directions. What the scheduler tells goes into a queue and
from there into rows; what people change in rows (pause, resume, remove, run now) is done to the
scheduler. A listener only queues: it is called inside the scheduler's own threads, and one that
calls it back can deadlock its `shutdown()`. Pages never touch the scheduler at all.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_ALL
from apscheduler.executors.base import MaxInstancesReachedError
from apscheduler.jobstores.base import JobLookupError
from sqlalchemy import delete, select

from dashboard.scheduling.hostjobs import (
    HostKey,
    columns_of,
    key_of,
    must_write_trigger,
    write_trigger,
)
from dashboard.scheduling.hostruns import (
    ENDS,
    RUN_EVENTS,
    WHY_NOT,
    About,
    Heard,
    end_unstarted,
    write_event,
)
from dashboard.scheduling.jobstore import CODE
from dashboard.storage.db import raise_revision, read_revision
from dashboard.storage.models import HOST, ID_LENGTH, Audit, Job, Run, RunState
from dashboard.storage.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apscheduler.job import Job as StockJob
    from apscheduler.schedulers.base import BaseScheduler
    from sqlalchemy.orm import Session

    from dashboard.scheduling.leader import Identity
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds after which rows are looked at in any case: other processes write too."""

CENSUS = timedelta(seconds=60)
"""Time between two looks at all jobs of the scheduler, whatever its events told."""

PAUSE_BETWEEN = 0.05
"""Seconds between two rounds: events come in bursts, and a round costs a transaction."""

BATCH = 500
"""Events written in one transaction."""

REMEMBERED = 10_000
"""Removed jobs whose names are kept: a one-off job is removed before its run is told of."""


@dataclass(slots=True)
class Mirrored:
    """A job of the scheduler, and its row as this process last wrote or obeyed it."""

    key: HostKey
    about: About
    version: int
    paused: bool


class HostScheduler:
    """Keeps the rows of a host's jobs and its scheduler in step."""

    def __init__(self, scheduler: BaseScheduler, database: Database, identity: Identity) -> None:
        """Prepare for `scheduler`, which the host starts and stops itself, before or after."""
        self._scheduler = scheduler
        self._database = database
        self._identity = identity
        self._heard: deque[Heard] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._jobs: dict[str, Mirrored] = {}
        self._known: OrderedDict[HostKey, About] = OrderedDict()
        self._asked: dict[tuple[HostKey, datetime], int] = {}  # runs that people asked for
        self._changed: set[HostKey] | None = None  # None: any job may have changed
        self._census_due = datetime.now(UTC)
        self._revision = -1
        self._trouble = Trouble(
            logger,
            "the host's scheduler cannot be followed",
            over="the host's scheduler can be followed again",
        )

    def start(self) -> None:
        """Begin to listen and to look."""
        self._stopping = False
        self._scheduler.add_listener(self._hear, EVENT_ALL)
        self._thread = threading.Thread(target=self._work, name="host-scheduler", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5) -> None:
        """Write what was heard and end; the scheduler itself is the host's to stop."""
        if self._thread is None:
            return
        self._scheduler.remove_listener(self._hear)
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout)
        self._thread = None

    def wake(self) -> None:
        """Look at the rows at once."""
        self._wake.set()

    def _hear(self, event: Any) -> None:
        self._heard.append(Heard(event, datetime.now(UTC)))
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait(LOOK)
            self._wake.clear()
            stopping = self._stopping
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 -- the thread must live on whatever happens
                self._changed = None  # what was heard is kept until it is written
                self._trouble.note(error)
            else:
                self._trouble.end()
            if stopping:
                return
            if self._heard and self._trouble.since is None:
                self._wake.set()
            threading.Event().wait(PAUSE_BETWEEN)

    def _round(self) -> None:
        """Do what people want, then write what the scheduler tells."""
        self._obey_rows()
        heard = list(islice(self._heard, BATCH))
        for each in heard:
            self._note_change(each.event)
        if datetime.now(UTC) >= self._census_due:
            self._changed = None
        jobs = self._look_up()
        if heard or jobs is not None:
            before = dict(self._jobs)
            try:
                self._write(heard, jobs)
            except BaseException:
                self._jobs = before  # or rows that were never committed would seem removed
                raise
            for _ in heard:
                self._forget_asked(self._heard.popleft().event)
            self._changed = set()

    def _write(self, heard: Sequence[Heard], jobs: dict[HostKey, StockJob | None] | None) -> None:
        with self._database.write(touch=False) as session:
            changed = self._write_jobs(session, jobs) if jobs is not None else False
            for each in heard:
                changed = self._write_event(session, each) or changed
            if changed:
                raise_revision(session)

    # ------------------------------------------------------------------ from rows to the scheduler

    def _obey_rows(self) -> None:
        """Do to the scheduler what was done to the rows since the last look."""
        with self._database.read() as session:
            revision = read_revision(session)
            if revision == self._revision:
                return
            query = select(Job.id, Job.version, Job.paused_at).where(Job.executor == HOST)
            rows = {row.id: row for row in session.execute(query)}
            missing = {row_id: self._jobs[row_id] for row_id in self._jobs.keys() - rows.keys()}
            unwanted = [row_id for row_id in missing if _was_removed(session, row_id)]
        for row_id, mirrored in missing.items():
            if row_id in unwanted:
                self._remove(mirrored)  # may fail, where its store is away, and is tried again
            else:
                self._changed = None  # some accident: it gets its row again
            del self._jobs[row_id]
        for row_id, mirrored in self._jobs.items():
            row = rows[row_id]
            if row.version != mirrored.version:
                self._set_paused(mirrored, paused=row.paused_at is not None)
                mirrored.version = row.version
        self._start_asked()
        self._revision = revision

    def _remove(self, mirrored: Mirrored) -> None:
        with suppress(JobLookupError):  # it was removed there as well
            self._scheduler.remove_job(mirrored.key.job_id, mirrored.key.jobstore)
        logger.info("removed job %s of the host's scheduler", mirrored.key.job_id)

    def _set_paused(self, mirrored: Mirrored, *, paused: bool) -> None:
        if paused == mirrored.paused:
            return
        change = self._scheduler.pause_job if paused else self._scheduler.resume_job
        with suppress(JobLookupError):  # the next look will find that it is gone
            change(mirrored.key.job_id, mirrored.key.jobstore)
        mirrored.paused = paused
        if self._changed is not None:
            self._changed.add(mirrored.key)

    def _start_asked(self) -> None:
        """Start the runs that people asked for: committed as running first, then submitted."""
        with self._database.read() as session:
            query = select(Run.id).where(Run.state == RunState.QUEUED, Run.executor == HOST)
            waiting = list(session.scalars(query.order_by(Run.id).limit(BATCH)))
        for run_id in waiting:
            now = datetime.now(UTC)
            with self._database.write() as session:
                run = session.get(Run, run_id, with_for_update=True)
                if run is None or run.state is not RunState.QUEUED or run.job_id not in self._jobs:
                    continue
                run.state, run.started_at = RunState.RUNNING, now
                run.host, run.process = self._identity.host, self._identity.process
                key = self._jobs[run.job_id].key
            self._submit(run_id, key, now)

    def _submit(self, run_id: int, key: HostKey, now: datetime) -> None:
        """Give one more run of a job to its executor, beside its schedule.

        APScheduler has no public "run now": changing the next run time would shift an interval.
        """
        scheduler = self._scheduler
        self._asked[key, now] = run_id
        state, why = RunState.INTERRUPTED, ""
        try:
            job = scheduler.get_job(key.job_id, key.jobstore)
            if job is None:
                why = "The job is gone."
            else:
                scheduler._lookup_executor(job.executor).submit_job(job, [now])  # noqa: SLF001
                return
        except MaxInstancesReachedError:
            state, why = RunState.SKIPPED, WHY_NOT[RunState.SKIPPED]
        except Exception as error:  # noqa: BLE001 -- told as the end of the run
            why = f"It could not be started: {error}"
        del self._asked[key, now]
        with self._database.write() as session:
            end_unstarted(session.connection(), run_id, state, why, datetime.now(UTC))

    # ------------------------------------------------------------------ from the scheduler to rows

    def _note_change(self, event: Any) -> None:
        """Remember which jobs an event is about, or that it can be about any."""
        if self._changed is None:
            return
        job_id = getattr(event, "job_id", None)
        if job_id is None:
            self._changed = None
        else:
            self._changed.add(HostKey(event.jobstore or "default", job_id))

    def _look_up(self) -> dict[HostKey, StockJob | None] | None:
        """Ask the scheduler for the jobs that may have changed; None when there are none.

        Before any transaction: it may wait for the scheduler's lock. A job that is gone is None.
        """
        if not self._scheduler.running:
            return None
        if self._changed is None:
            found = {key_of(job): job for job in self._scheduler.get_jobs()}
            gone = {each.key: None for each in self._jobs.values() if each.key not in found}
            self._census_due = datetime.now(UTC) + CENSUS
            return {**found, **gone}
        if not self._changed:
            return None
        return {key: self._scheduler.get_job(key.job_id, key.jobstore) for key in self._changed}

    def _write_jobs(self, session: Session, jobs: dict[HostKey, StockJob | None]) -> bool:
        """Write the jobs that were looked up; say whether a page could show the difference."""
        changed = False
        if self._changed is None:
            changed = self._forget_strangers(session, jobs)
        for key, job in jobs.items():
            about = self._known.get(key)
            row_id = about.row_id if about else self._free_id(session, key)
            if job is None:
                self._jobs.pop(row_id, None)
                gone = session.execute(delete(Job).where(Job.id == row_id, Job.executor == HOST))
                changed = changed or gone.rowcount > 0  # type: ignore[attr-defined]
            else:
                changed = self._write_job(session, key, row_id, job) or changed
        while len(self._known) > REMEMBERED + len(self._jobs):
            self._known.popitem(last=False)
        return changed

    def _write_job(self, session: Session, key: HostKey, row_id: str, job: StockJob) -> bool:
        columns = columns_of(job)
        paused = job.next_run_time is None
        moment = None if paused else job.next_run_time.astimezone(UTC)
        about = About(row_id, columns["name"], columns["task"], columns["parameters"])
        self._known[key] = about
        self._known.move_to_end(key)
        row = session.get(Job, row_id)
        mirrored = self._jobs.get(row_id)
        now = datetime.now(UTC)
        if mirrored is not None and (row is None or row.version != mirrored.version):
            return False  # somebody has just changed or removed it: obeyed first, at the next look
        if row is None:
            row = Job(id=row_id, tags=[], trigger={}, created_at=now, created_by=CODE, version=1)
            row.updated_at, row.updated_by = now, CODE
            session.add(row)
        elif mirrored is None and row.paused_at is not None and not paused:
            # Paused stays paused, also when the program that made the job anew knows nothing of it.
            self._jobs[row_id] = Mirrored(key, about, row.version - 1, paused=False)
            self._revision = -1
            return False
        if must_write_trigger(row, job.trigger, moment):
            columns["trigger"] = write_trigger(job.trigger, moment)
        columns["next_run_time"] = moment
        if paused != (row.paused_at is not None):
            columns |= {"paused_at": now if paused else None, "paused_by": CODE if paused else None}
            columns["paused_reason"] = None
        different = {name: new for name, new in columns.items() if getattr(row, name) != new}
        for name, value in different.items():
            setattr(row, name, value)
        session.flush()
        self._jobs[row_id] = Mirrored(key, about, row.version, paused)
        return bool(different)

    def _free_id(self, session: Session, key: HostKey) -> str:
        """Return the id of a job's row; a job of the dashboard's own may have it already."""
        taken = session.scalar(select(Job.executor).where(Job.id == key.row_id))
        return key.row_id if taken in {None, HOST} else f"~{HOST}.{key.row_id}"[:ID_LENGTH]

    def _forget_strangers(self, session: Session, jobs: dict[HostKey, StockJob | None]) -> bool:
        """Remove the rows of jobs that the scheduler has not: they were of an earlier start."""
        present = {self._known[key].row_id if key in self._known else key.row_id for key in jobs}
        present |= {f"~{HOST}.{row_id}"[:ID_LENGTH] for row_id in present}
        rows = session.scalars(select(Job.id).where(Job.executor == HOST))
        strangers = [row_id for row_id in rows if row_id not in present]
        for row_id in strangers:
            session.execute(delete(Job).where(Job.id == row_id))
        return bool(strangers)

    def _write_event(self, session: Session, heard: Heard) -> bool:
        event = heard.event
        if not event.code & RUN_EVENTS:
            return False
        key = HostKey(event.jobstore or "default", event.job_id)
        about = self._known.get(key) or About(key.row_id, key.row_id, key.row_id, {})
        asked = self._asked.get((key, event.scheduled_run_time)) if event.code & ENDS else None
        write_event(session.connection(), heard, about, self._identity, asked)
        return True

    def _forget_asked(self, event: Any) -> None:
        if event.code & ENDS:
            key = HostKey(event.jobstore or "default", event.job_id)
            self._asked.pop((key, event.scheduled_run_time), None)


def _was_removed(session: Session, row_id: str) -> bool:
    """Say whether the last thing that is known of a row is that somebody removed it.

    Only then is its job removed from the scheduler too. A row that is missing for any other reason
    (a restored database, another process with fewer jobs) must not take the app's jobs along.
    """
    last = select(Audit.action).where(Audit.target == row_id, Audit.outcome == "done")
    return session.scalar(last.order_by(Audit.id.desc()).limit(1)) == "job.remove"
