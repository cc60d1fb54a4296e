"""What the pages ask about one job or one run; a few look-ups by index, whatever the history.

Lists of runs are in `run_list`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import aliased

from dashboard.errors import JobNotFound, RunNotFound
from dashboard.storage.models import (
    ACTIVE_RUN,
    Audit,
    Job,
    JobHealth,
    Run,
    RunLog,
    RunState,
    RunStep,
)
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

LOG_PAGE = 1000
"""Log lines given at once."""

MAX_STEPS = 1000
"""Steps given of one run."""

CHANGES_AMONG = 500
"""Entries of a job in the audit log, among which its changes are looked for."""

MAX_ATTEMPTS = 20
"""Attempts listed of one fire time."""

SAME_ERROR_CAP = 100
"""Runs with the same error are counted up to here."""


@dataclass(frozen=True, slots=True)
class JobDetail:
    """One job and how it is doing."""

    job: Job
    health: JobHealth | None  # None until it has run
    running: bool  # a run of it runs, not merely waits


def get_job(session: Session, job_id: str) -> JobDetail:
    """Return a job and how it is doing, in one query. Raises `JobNotFound`."""
    found = get_jobs(session, [job_id]) if is_storable(job_id) else []
    if not found:
        raise JobNotFound(job_id)
    return found[0]


def get_jobs(session: Session, job_ids: Sequence[str]) -> list[JobDetail]:
    """Return the jobs of these ids that there are, in this order, in one query."""
    # Letter by letter the condition of ix_run_active, or the index is not used.
    running = exists().where(Run.job_id == Job.id, text(ACTIVE_RUN), Run.state == RunState.RUNNING)
    found = session.execute(
        select(Job, JobHealth, running)
        .outerjoin(JobHealth, JobHealth.job_id == Job.id)
        .where(Job.id.in_(job_ids))
    )
    details = {row[0].id: JobDetail(*row) for row in found}
    return [details[job_id] for job_id in job_ids if job_id in details]


def is_known(session: Session, job_id: str) -> bool:
    """Say whether there is such a job, or was one that history knows."""
    return session.get(Job, job_id) is not None or has_runs(session, job_id)


def has_runs(session: Session, job_id: str) -> bool:
    """Say whether history knows the job, which may have been removed."""
    return session.scalars(select(Run.id).where(Run.job_id == job_id).limit(1)).first() is not None


def list_changes(session: Session, job_id: str, *, limit: int) -> list[Audit]:
    """Return the newest changes of a job: all that was done to it, but asking for runs."""
    newest = (
        select(Audit.id)
        .where(Audit.target == job_id)
        .order_by(Audit.id.desc())
        .limit(CHANGES_AMONG)
        .subquery()
    )
    changes = (
        select(Audit)
        .join(newest, newest.c.id == Audit.id)
        .where(Audit.action.startswith("job."), Audit.action != "job.run", Audit.outcome == "done")
        .order_by(Audit.id.desc())
    )
    return list(session.scalars(changes.limit(limit)))


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run with its surroundings."""

    run: Run
    job_exists: bool
    usual_duration: float | None  # seconds; median of the job's recent successes
    long_duration: float | None  # seconds; their 95th percentile
    previous_id: int | None  # the job's run before this one
    next_id: int | None
    same_error: int  # other runs with this error, counted up to SAME_ERROR_CAP
    timeout: float | None  # seconds that its job lets a run take
    retries: int  # attempts that its job adds to one that failed


def get_run(session: Session, run_id: int) -> RunDetail:
    """Return a run and what surrounds it, in one query. Raises `RunNotFound`."""
    other = aliased(Run)
    same_job = other.job_id == Run.job_id
    alike = (
        select(other.id)
        .where(other.fingerprint == Run.fingerprint, other.id != Run.id)
        .limit(SAME_ERROR_CAP)
        .correlate(Run)
        .subquery()
    )
    found = session.execute(
        select(
            Run,
            Job.id.is_not(None),
            JobHealth.usual_duration,
            JobHealth.long_duration,
            select(func.max(other.id)).where(same_job, other.id < Run.id).scalar_subquery(),
            select(func.min(other.id)).where(same_job, other.id > Run.id).scalar_subquery(),
            select(func.count()).select_from(alike).scalar_subquery(),
            Job.timeout,
            func.coalesce(Job.retries, 0),
        )
        .outerjoin(Job, Job.id == Run.job_id)
        .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
        .where(Run.id == run_id)
    ).one_or_none()
    if found is None:
        raise RunNotFound(run_id)
    return RunDetail(*found)


class LogLevel(enum.StrEnum):
    """How much a line of a log has to weigh; levels that a program made up weigh as info."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_AT_LEAST: dict[LogLevel, ColumnElement[bool]] = {
    LogLevel.INFO: RunLog.level != "DEBUG",
    LogLevel.WARNING: RunLog.level.in_(("WARNING", "ERROR", "CRITICAL")),
    LogLevel.ERROR: RunLog.level.in_(("ERROR", "CRITICAL")),
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the runs for the same fire time of a job."""

    id: int
    attempt: int
    state: RunState
    not_before: datetime | None  # it waits for this moment


def list_attempts(session: Session, run: Run) -> list[Attempt]:
    """Return all attempts at what `run` was for, itself included, the newest if there are many."""
    wanted = (
        select(Run.id, Run.attempt, Run.state, Run.not_before)
        .where(Run.job_id == run.job_id, Run.scheduled_at == run.scheduled_at)
        .order_by(Run.attempt.desc())
        .limit(MAX_ATTEMPTS)
    )
    return [Attempt(*row) for row in session.execute(wanted)][::-1]


def list_steps(session: Session, run_id: int) -> list[RunStep]:
    """Return a run's named steps in the order they began."""
    wanted = select(RunStep).where(RunStep.run_id == run_id).order_by(RunStep.index)
    return list(session.scalars(wanted.limit(MAX_STEPS)))


def get_runs(session: Session, run_ids: Sequence[int]) -> list[tuple[Run, list[RunStep]]]:
    """Return the runs of these ids that there are, in this order, each with its steps."""
    rows = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_(run_ids)))}
    steps: dict[int, list[RunStep]] = {run_id: [] for run_id in rows}
    wanted = select(RunStep).where(RunStep.run_id.in_(run_ids))
    for step in session.scalars(wanted.order_by(RunStep.run_id, RunStep.index)):
        steps[step.run_id].append(step)
    return [(rows[run_id], steps[run_id]) for run_id in run_ids if run_id in rows]


def list_log(
    session: Session,
    run_id: int,
    *,
    after: int | None = None,
    before: int | None = None,
    containing: str | None = None,
    least: LogLevel | None = None,
    limit: int = LOG_PAGE,
) -> list[RunLog]:
    """Return lines of a run's log in their order, at most `limit`.

    With `after`, those that follow that number; else the last ones, or the last before `before`.
    `containing` keeps the lines that contain it, whatever the case; `least` those that weigh as
    much.
    """
    wanted = select(RunLog).where(RunLog.run_id == run_id).limit(limit)
    if containing is not None:
        wanted = wanted.where(RunLog.text.icontains(containing, autoescape=True))
    if least is not None:
        wanted = wanted.where(_AT_LEAST[least])
    if after is not None:
        return list(session.scalars(wanted.where(RunLog.seq > after).order_by(RunLog.seq)))
    if before is not None:
        wanted = wanted.where(RunLog.seq < before)
    return list(session.scalars(wanted.order_by(RunLog.seq.desc())))[::-1]
