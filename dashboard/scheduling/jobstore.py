"""Jobs as readable rows: task name, JSON parameters, JSON trigger. Nothing here is ever unpickled.

`TableJobStore` is the same rows as an APScheduler job store, for code that holds the scheduler
(`scheduler.get_jobs()`, `pause_job`, `remove_job`). The tick reads rows directly.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.job import Job as StockJob
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from sqlalchemy import Select, delete, select
from sqlalchemy.exc import IntegrityError

from dashboard.errors import DashboardError
from dashboard.history.consequences import cancel_queued
from dashboard.history.health import count_finished
from dashboard.scheduling import lifecycle, triggers
from dashboard.storage.models import HOST, ID_LENGTH, Job, JobHealth
from dashboard.tasks import Task, all_tasks, get_task

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from dashboard.scheduling.triggers import Schedule
    from dashboard.storage.db import Database
    from dashboard.vault import Vault

logger = logging.getLogger(__name__)

CACHED_SCHEDULES = 50_000

CODE = "code"
"""Who acts when a program calls the scheduler."""


class ScheduleCache:
    """Parsed triggers by their JSON text: the tick of a busy second parses none."""

    def __init__(self) -> None:
        """Begin empty."""
        self._kept: OrderedDict[tuple[str, str], Schedule] = OrderedDict()

    def of(self, trigger: str, timezone: str) -> Schedule:
        """Return the schedule of a trigger's JSON text.

        Raises `Invalid` for a trigger that cannot be read.
        """
        found = self._kept.get((trigger, timezone))
        if found is None:
            found = triggers.load(json.loads(trigger), timezone=timezone)
            self._kept[trigger, timezone] = found
            if len(self._kept) > CACHED_SCHEDULES:
                self._kept.popitem(last=False)
        return found


def next_due(session: Session) -> datetime | None:
    """Return when the next job that may fire is due."""
    return session.scalar(
        select(Job.next_run_time)
        .where(
            Job.next_run_time.is_not(None),
            Job.paused_at.is_(None),
            Job.broken_reason.is_(None),
            Job.executor != HOST,
        )
        .order_by(Job.next_run_time)
        .limit(1)
    )


def why_broken(job: Job, executors: Collection[str], vault: Vault) -> str | None:
    """Say why a job cannot be run as it stands, or None when it can.

    About a job of a host's own scheduler only that scheduler can tell.
    """
    if job.executor == HOST:
        return None
    try:
        get_task(job.task).parameters.unsealed(job.parameters, vault)
        triggers.load(job.trigger, timezone=job.timezone)
    except DashboardError as error:
        return str(error)
    if job.executor not in executors:
        known = ", ".join(sorted(executors))
        return f"There is no executor “{job.executor}”. There are: {known}."
    return None


def recheck_jobs(session: Session, now: datetime, executors: Collection[str], vault: Vault) -> None:
    """Mark jobs that cannot run (their task is gone) and free those that can again.

    Parameters that have become secret in the code since they were stored are encrypted now. A
    repaired job keeps its next run time: fire times that passed while it was broken are treated
    like those of any other delay, by its misfire grace time and coalescing.
    """
    tasks = {task.name: task for task in all_tasks()}
    with_secrets = [task.name for task in tasks.values() if task.parameters.secrets]
    doubtful = select(Job).where(
        Job.broken_reason.is_not(None)
        | (Job.task.not_in(list(tasks)) & (Job.executor != HOST))
        | Job.executor.not_in([*sorted(executors), HOST])
        | Job.task.in_(with_secrets)
    )
    for job in session.scalars(doubtful):
        if job.task in with_secrets:
            job.parameters = tasks[job.task].parameters.resealed(job.parameters, vault)
        reason = why_broken(job, executors, vault)
        if reason != job.broken_reason:
            job.broken_reason = reason
            job.updated_at = now
            job.version += 1
    session.flush()


def cancel_all_queued(session: Session, job_id: str, now: datetime) -> None:
    """End what is queued of a job that is about to be removed: nobody would ever start it."""
    connection = session.connection()
    ended = cancel_queued(connection, job_id, "The job was removed.", now, asked_too=True)
    count_finished(connection, ended)


class TableJobStore(BaseJobStore):
    """The table `job` as an APScheduler job store. It never deletes what it cannot read."""

    def __init__(self, database: Database, executors: Collection[str], vault: Vault) -> None:
        """Serve the jobs of `database`, for the executors that there are."""
        self._database = database
        self._executors = executors
        self._vault = vault

    def lookup_job(self, job_id: str) -> StockJob | None:
        """Return one job; None for one that is unknown or broken."""
        with self._database.read() as session:
            row = session.get(Job, job_id)
        return None if row is None or row.broken_reason else self._stock_or_none(row)

    def get_due_jobs(self, now: datetime) -> list[StockJob]:
        """Return the jobs that are due, most urgent first."""
        due = Job.next_run_time <= now, Job.paused_at.is_(None)
        return self._stock_jobs(select(Job).where(*due).order_by(Job.next_run_time))

    def get_next_run_time(self) -> datetime | None:
        """Return when the next job is due."""
        with self._database.read() as session:
            return next_due(session)

    def get_all_jobs(self) -> list[StockJob]:
        """Return all jobs that can be read, paused and finished ones last."""
        order = (Job.next_run_time.is_(None), Job.next_run_time, Job.id)
        return self._stock_jobs(select(Job).order_by(*order))

    def add_job(self, job: StockJob) -> None:
        """Keep a job of a registered task.

        Raises `ConflictingIdError` for an id that exists, `ValueError` for a callable that is not
        a registered task, an unknown executor or a trigger that has no JSON form, and `Invalid`
        for arguments that do not fit the task.
        """
        now = datetime.now(UTC)
        task = _task_of(job.func)
        columns = _columns(job, self._executors, self._vault)
        row = Job(id=job.id, **columns, tags=[], created_at=now, created_by=CODE)
        row.timeout, row.retries = task.timeout, task.retries
        row.max_runs, row.end_at = None, None
        row.updated_at, row.updated_by = now, CODE
        row.next_run_time = job.next_run_time
        if job.next_run_time is None:
            _stop(row, now)
        try:
            with self._database.write() as session:
                session.add(row)
                session.flush()
        except IntegrityError as error:
            raise ConflictingIdError(job.id) from error

    def update_job(self, job: StockJob) -> None:
        """Take over what APScheduler changed.

        There, no next run time means paused, and any other means not paused, so that rescheduling
        or `add_job(replace_existing=True)` resumes a paused job. Here only `resume_job` does.
        Raises as `add_job` does, and `JobLookupError`.
        """
        now = datetime.now(UTC)
        columns = _columns(job, self._executors, self._vault)
        with self._database.write() as session:
            row = _locked(session, job.id)
            rescheduled = columns["trigger"] != row.trigger
            for name, value in columns.items():
                setattr(row, name, value)
            if job.next_run_time is None:
                if row.next_run_time is not None or rescheduled:
                    _stop(row, now)
            elif row.paused_at is None:
                lifecycle.fire_next(row, job.next_run_time)
            row.broken_reason = why_broken(row, self._executors, self._vault)
            _touch(row, now)

    def resume_job(self, job_id: str) -> None:
        """Let a paused job fire again; one without a further fire time is finished, not removed."""
        now = datetime.now(UTC)
        with self._database.write() as session:
            row = _locked(session, job_id)
            lifecycle.resume(row, now)
            _touch(row, now)

    def remove_job(self, job_id: str) -> None:
        """Remove one job; its runs stay."""
        with self._database.write() as session:
            self._remove(session, _locked(session, job_id))

    def remove_all_jobs(self) -> None:
        """Remove all jobs; their runs stay."""
        with self._database.write() as session:
            for row in session.scalars(select(Job).order_by(Job.id).with_for_update()).all():
                self._remove(session, row)

    def _remove(self, session: Session, row: Job) -> None:
        cancel_all_queued(session, row.id, datetime.now(UTC))
        session.execute(delete(JobHealth).where(JobHealth.job_id == row.id))
        session.delete(row)
        session.flush()

    def _stock_jobs(self, query: Select[Job]) -> list[StockJob]:
        with self._database.read() as session:
            own = query.where(Job.broken_reason.is_(None), Job.executor != HOST)
            rows = session.scalars(own).all()
        return [job for row in rows if (job := self._stock_or_none(row)) is not None]

    def _stock_or_none(self, row: Job) -> StockJob | None:
        """Leave out a job that has just broken: its task is gone, or takes something else now."""
        try:
            return self._stock(row)
        except DashboardError as error:
            logger.warning("job %s cannot be used: %s", row.id, error)
            return None

    def _stock(self, row: Job) -> StockJob:
        task = get_task(row.task)
        arguments, named = task.parameters.bind(row.parameters, self._vault)
        job = StockJob(
            self._scheduler,
            id=row.id,
            name=row.name,
            func=task.function,
            args=arguments,
            kwargs=named,
            trigger=triggers.load(row.trigger, timezone=row.timezone).trigger,
            executor=row.executor,
            coalesce=row.coalesce,
            max_instances=row.max_instances,
            misfire_grace_time=row.misfire_grace_time,
            next_run_time=row.next_run_time,
        )
        job._jobstore_alias = self._alias  # noqa: SLF001 -- as APScheduler's own stores do
        return job


def _columns(job: StockJob, executors: Collection[str], vault: Vault) -> dict[str, Any]:
    """Return what a stock job says, as columns of its row."""
    task = _task_of(job.func)
    schedule = triggers.from_trigger(job.trigger)
    executor = task.executor if job.executor == "default" else job.executor
    if executor not in executors:
        known = ", ".join(executors)
        message = f"there is no executor {executor!r} in the dashboard; there are {known}"
        raise ValueError(message)
    given = inspect.signature(task.function).bind(*job.args, **job.kwargs).arguments
    return {
        "name": job.name[:ID_LENGTH],
        "task": task.name,
        "parameters": task.parameters.validate(given, vault=vault),
        "trigger": schedule.data,
        "timezone": schedule.timezone,
        "executor": executor,
        "coalesce": job.coalesce,
        "max_instances": job.max_instances,
        "misfire_grace_time": job.misfire_grace_time,
    }


def _task_of(function: Any) -> Task:
    for task in all_tasks():
        if task.function is function:
            return task
    message = f"{function!r} is not a registered task; decorate it with @task"
    raise ValueError(message)


def _stop(row: Job, now: datetime) -> None:
    """Give a job no next run time: paused if there could be one, else finished."""
    row.next_run_time = None
    schedule = triggers.load(row.trigger, timezone=row.timezone)
    row.finished_reason = lifecycle.why_finished(row, schedule.at_or_after(now))
    if row.finished_reason is None and row.paused_at is None:
        row.paused_at, row.paused_by = now, CODE


def _locked(session: Session, job_id: str) -> Job:
    row = session.get(Job, job_id, with_for_update=True)
    if row is None:
        raise JobLookupError(job_id)
    return row


def _touch(row: Job, now: datetime) -> None:
    row.updated_at, row.updated_by = now, CODE
    row.version += 1
