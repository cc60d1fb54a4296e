"""What the page Now asks: what is wrong, what runs, what comes next.

All are look-ups by index, and limited. What is wrong is told by `problems`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text, union_all
from sqlalchemy.orm import aliased, load_only

from dashboard.history.downtimes import last_downtime_ended, recent_downtimes
from dashboard.history.problems import ProblemKind, read_problems
from dashboard.history.system import queued_runs
from dashboard.storage.models import (
    ACTIVE_RUN,
    ALL_JOBS,
    PROBLEMS,
    Job,
    Run,
    RunState,
    RunStats,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.history.downtimes import Downtime
    from dashboard.history.problems import Problem, Problems

RUNNING = 100
"""Running runs are listed up to here."""

SOON = 10
"""Jobs of the next hour that are shown."""

RECOVERIES = 50
"""The latest failures looked at to tell since when all is clear."""


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is going on; its fields are the columns that are read."""

    id: int
    job_id: str
    job_name: str
    started_at: datetime | None
    progress: dict[str, Any] | None  # done, total, text


@dataclass(frozen=True, slots=True)
class Clear:
    """Since when nothing has been wrong."""

    since: datetime | None  # None: nothing ever was
    last_problem: Run | None


@dataclass(frozen=True, slots=True)
class HourCount:
    """How the runs of one hour ended."""

    hour: datetime
    succeeded: int
    failed: int  # or interrupted
    missed: int  # or skipped
    cancelled: int

    @property
    def total(self) -> int:
        """All runs of the hour."""
        return self.succeeded + self.failed + self.missed + self.cancelled


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page Now shows, read at one moment."""

    problems: Problems
    downtimes: list[Downtime]  # of the last 24 hours
    running: list[ActiveRun]
    queued: int
    queued_since: datetime | None
    next_jobs: list[Job]
    hours: list[HourCount]
    clear: Clear | None  # None while something is wrong

    @property
    def by_kind(self) -> list[list[Problem]]:
        """The open problems, a list for each kind in the order of `ProblemKind`."""
        return [self.problems.of(kind) for kind in ProblemKind]


def read_overview(session: Session, now: datetime, *, alive: bool) -> Overview:
    """Read the page Now; `alive` says whether the scheduler is."""
    problems = read_problems(session, now)
    queued, queued_since = queued_runs(session)
    return Overview(
        problems=problems,
        downtimes=recent_downtimes(session, now - timedelta(hours=24)),
        running=active_runs(session),
        queued=queued,
        queued_since=queued_since,
        next_jobs=next_jobs(session, now),
        hours=hour_counts(session, now),
        clear=clear_since(session) if alive and not problems.open else None,
    )


def active_runs(session: Session) -> list[ActiveRun]:
    """Return what is running, the longest first."""
    return [ActiveRun(*row) for row in session.connection().execute(_RUNNING)]


def next_jobs(session: Session, now: datetime) -> list[Job]:
    """Return the jobs that fire within the next hour, the next one first; one more than shown."""
    return list(session.scalars(_NEXT_JOBS, {"from": now, "until": now + timedelta(hours=1)}))


def hour_counts(session: Session, now: datetime) -> list[HourCount]:
    """Return how the runs of the last 24 hours ended, hour by hour; this hour comes last."""
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=back) for back in range(23, -1, -1)]
    by_hour = {stats.hour: stats for stats in session.scalars(_HOURS, {"from": hours[0]})}
    return [_hour_count(hour, by_hour.get(hour)) for hour in hours]


def clear_since(session: Session) -> Clear:
    """Tell since when all is clear, assuming that nothing is wrong now.

    That is the latest moment at which a job that had failed succeeded again, or a scheduler took
    over after a downtime. A failure that was never followed by a success (its job was removed or
    paused) counts from when it happened.
    """
    found = session.execute(_RECOVERIES).all()
    moments = [after or finished for _, finished, after in found if after or finished]
    if (end := last_downtime_ended(session)) is not None:
        moments.append(end)
    last = max((run_id for run_id, _, _ in found), default=None)
    return Clear(
        since=max(moments, default=None),
        last_problem=None if last is None else session.get(Run, last),
    )


def _hour_count(hour: datetime, stats: RunStats | None) -> HourCount:
    if stats is None:
        return HourCount(hour, 0, 0, 0, 0)
    return HourCount(
        hour,
        succeeded=stats.succeeded,
        failed=stats.failed + stats.interrupted,
        missed=stats.missed + stats.skipped,
        cancelled=stats.cancelled,
    )


# Statements are built once: pages that update themselves ask the same again and again, and building
# one takes SQLAlchemy longer than the database needs to answer it.

_JOB_COLUMNS = load_only(
    Job.id,
    Job.name,
    Job.task,
    Job.trigger,
    Job.timezone,
    Job.next_run_time,
    Job.paused_at,
    Job.broken_reason,
    raiseload=True,
)

# Both conditions of ix_job_due are named, or the index would not be used.
_DUE = select(Job).where(Job.paused_at.is_(None), Job.broken_reason.is_(None))
_NEXT_JOBS = (
    _DUE.where(Job.next_run_time >= bindparam("from"), Job.next_run_time < bindparam("until"))
    .options(_JOB_COLUMNS)
    .order_by(Job.next_run_time, Job.id)
    .limit(SOON + 1)
)

_RUNNING = (
    select(
        Run.id,
        Run.job_id,
        Run.job_name,
        Run.started_at,
        Run.progress,
    )
    .where(text(ACTIVE_RUN), Run.state == RunState.RUNNING)
    .order_by(Run.started_at)
    .limit(RUNNING)
)

_HOURS = select(RunStats).where(RunStats.job_id == ALL_JOBS, RunStats.hour >= bindparam("from"))

# The last failure of each job among the latest ones; one walk of the index for each state.
_LATEST_PROBLEMS = union_all(
    *(
        select(
            select(Run.id, Run.job_id, Run.finished_at)
            .where(Run.state == state)
            .order_by(Run.id.desc())
            .limit(RECOVERIES)
            .subquery()
        )
        for state in PROBLEMS
    )
).subquery()
_PROBLEM = (
    select(
        _LATEST_PROBLEMS.c.job_id,
        func.max(_LATEST_PROBLEMS.c.id).label("run_id"),
        func.max(_LATEST_PROBLEMS.c.finished_at).label("finished_at"),
    )
    .group_by(_LATEST_PROBLEMS.c.job_id)
    .subquery()
)
_LATER = aliased(Run)
_RECOVERIES = select(
    _PROBLEM.c.run_id,
    _PROBLEM.c.finished_at,
    select(_LATER.finished_at)
    .where(
        _LATER.job_id == _PROBLEM.c.job_id,
        _LATER.id > _PROBLEM.c.run_id,
        _LATER.state == RunState.SUCCEEDED,
    )
    .order_by(_LATER.id)
    .limit(1)
    .scalar_subquery(),
)
