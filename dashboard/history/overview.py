"""What the page Now asks: what is wrong, what runs, what comes next.

All are look-ups by index, and limited. A paused job is in none of the lists of problems: somebody
has decided about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, literal, select, text, union_all
from sqlalchemy.orm import aliased, load_only

from dashboard.storage.models import (
    ACTIVE_RUN,
    ALL_JOBS,
    PROBLEMS,
    Health,
    Job,
    JobHealth,
    Run,
    RunState,
    RunStats,
    SchedulerLife,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CompoundSelect, Select
    from sqlalchemy.orm import Session
    from sqlalchemy.orm.strategy_options import _AbstractLoad

SHOWN = 50
"""Rows of a list of problems; more are counted, not shown."""

COUNTED = 100
"""Problems of a kind are counted up to here."""

SOON = 12
"""Jobs of the next hour that are shown."""

OVERDUE_AFTER = timedelta(seconds=60)
"""How late the scheduler may look at a due job. Its misfire grace time does not come in: a fire
time is claimed at once even when that is spent, and becomes a run that was missed."""

SLOW_FACTOR = 3
"""A run is unusually long when it takes this many times what is usual, and longer than most."""

SLOW_AT_LEAST = 5.0
"""Seconds below which no run is called unusually long."""

DOWNTIME = timedelta(seconds=60)
"""A gap between two schedulers that counts as a problem; a restart takes less."""

RECOVERIES = 50
"""The latest failures looked at to tell since when all is clear."""


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job whose last run failed."""

    job: Job
    health: JobHealth


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is going on."""

    run: Run
    usual_duration: float | None  # seconds
    long_duration: float | None

    def is_slow(self, now: datetime) -> bool:
        """Say whether it runs for unusually long already."""
        if self.usual_duration is None or self.run.started_at is None:
            return False
        elapsed = (now - self.run.started_at).total_seconds()
        usual = max(self.usual_duration * SLOW_FACTOR, self.long_duration or 0.0, SLOW_AT_LEAST)
        return elapsed > usual


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

    failing: list[FailingJob]
    broken: list[Job]
    overdue: list[Job]
    running: list[ActiveRun]
    queued: int
    queued_since: datetime | None
    next_jobs: list[Job]
    hours: list[HourCount]
    clear: Clear | None  # None while something is wrong

    def slow(self, now: datetime) -> list[ActiveRun]:
        """Return what runs for unusually long already."""
        return [run for run in self.running if run.is_slow(now)]


def read_overview(session: Session, now: datetime, *, problems: int) -> Overview:
    """Read the page Now; `problems` is their number, the scheduler's own state included."""
    queued, queued_since = queued_runs(session)
    return Overview(
        failing=failing_jobs(session),
        broken=broken_jobs(session),
        overdue=overdue_jobs(session, now),
        running=active_runs(session),
        queued=queued,
        queued_since=queued_since,
        next_jobs=next_jobs(session, now),
        hours=hour_counts(session, now),
        clear=None if problems else clear_since(session),
    )


def failing_jobs(session: Session) -> list[FailingJob]:
    """Return the jobs whose last run failed, the newest failure first."""
    found = session.execute(
        _failing()
        .with_only_columns(Job, JobHealth)
        .options(_job_columns(), load_only(*_HEALTH_COLUMNS, raiseload=True))
        .order_by(JobHealth.failing_since.desc())
        .limit(SHOWN)
    )
    return [FailingJob(job, health) for job, health in found]


def broken_jobs(session: Session) -> list[Job]:
    """Return the jobs that cannot run as they stand."""
    found = session.scalars(_broken().options(_job_columns()).order_by(Job.name).limit(SHOWN))
    return list(found)


def overdue_jobs(session: Session, now: datetime) -> list[Job]:
    """Return the jobs that should have run by now and have not, the latest first."""
    found = session.scalars(
        _overdue().options(_job_columns()).order_by(Job.next_run_time).limit(SHOWN),
        {"overdue_before": now - OVERDUE_AFTER},
    )
    return list(found)


def active_runs(session: Session) -> list[ActiveRun]:
    """Return what is running, the longest first."""
    found = session.execute(_active())
    return [ActiveRun(*row) for row in found]


def queued_runs(session: Session) -> tuple[int, datetime | None]:
    """Return how many runs wait for a free place, up to ten times `COUNTED`, and since when."""
    waiting = (
        select(Run.queued_at)
        .where(text(ACTIVE_RUN), Run.state == RunState.QUEUED)
        .limit(COUNTED * 10)
        .subquery()
    )
    number, oldest = session.execute(
        select(func.count(), func.min(waiting.c.queued_at)).select_from(waiting)
    ).one()
    return number, oldest


def next_jobs(session: Session, now: datetime) -> list[Job]:
    """Return the jobs that fire within the next hour, the next one first; one more than shown."""
    found = session.scalars(
        select(Job)
        .options(_job_columns())
        .where(
            Job.next_run_time >= now,
            Job.next_run_time < now + timedelta(hours=1),
            Job.paused_at.is_(None),
            Job.broken_reason.is_(None),
        )
        .order_by(Job.next_run_time, Job.id)
        .limit(SOON + 1)
    )
    return list(found)


def hour_counts(session: Session, now: datetime) -> list[HourCount]:
    """Return how the runs of the last 24 hours ended, hour by hour; this hour comes last."""
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=back) for back in range(23, -1, -1)]
    found = session.scalars(
        select(RunStats).where(RunStats.job_id == ALL_JOBS, RunStats.hour >= hours[0])
    )
    by_hour = {stats.hour: stats for stats in found}
    return [_hour_count(hour, by_hour.get(hour)) for hour in hours]


def clear_since(session: Session) -> Clear:
    """Tell since when all is clear, assuming that nothing is wrong now.

    That is the latest moment at which a job that had failed succeeded again, or a scheduler took
    over after a downtime. A failure that was never followed by a success (its job was removed or
    paused) counts from when it happened.
    """
    problems = _last_problems().subquery()
    later = aliased(Run)
    recovered = (
        select(later.finished_at)
        .where(
            later.job_id == problems.c.job_id,
            later.id > problems.c.run_id,
            later.state == RunState.SUCCEEDED,
        )
        .order_by(later.id)
        .limit(1)
        .scalar_subquery()
    )
    found = session.execute(select(problems.c.run_id, problems.c.finished_at, recovered)).all()
    moments = [after or finished for _, finished, after in found if after or finished]
    if (end := _end_of_downtime(session)) is not None:
        moments.append(end)
    last = max((run_id for run_id, _, _ in found), default=None)
    return Clear(
        since=max(moments, default=None),
        last_problem=None if last is None else session.get(Run, last),
    )


def count_problems(session: Session, now: datetime | None = None) -> int:
    """Count what is wrong, each kind up to `COUNTED`; the scheduler's own state is not in it."""
    now = now or datetime.now(UTC)
    values = {"overdue_before": now - OVERDUE_AFTER}
    counted = sum(session.scalars(_problem_counts(), values))
    return counted + sum(run.is_slow(now) for run in active_runs(session))


def job_health(job: Job, health: JobHealth | None, now: datetime) -> Health:
    """Say how a job has been doing, from its rows."""
    stopped = job.paused_at is not None or job.broken_reason is not None
    return health_of(
        failing_since=health and health.failing_since,
        due=None if stopped else job.next_run_time,
        last_finished_at=health and health.last_finished_at,
        now=now,
    )


def health_of(
    *,
    failing_since: datetime | None,
    due: datetime | None,
    last_finished_at: datetime | None,
    now: datetime,
) -> Health:
    """Say how a job has been doing; `due` is None while it does not fire."""
    if failing_since is not None:
        return Health.FAILING
    if due is not None and due < now - OVERDUE_AFTER:
        return Health.OVERDUE
    return Health.UNKNOWN if last_finished_at is None else Health.HEALTHY


_HEALTH_COLUMNS = (
    JobHealth.job_id,
    JobHealth.last_run_id,
    JobHealth.last_success_at,
    JobHealth.last_error,
    JobHealth.failing_since,
    JobHealth.consecutive_failures,
)

_RUN_COLUMNS = (
    Run.id,
    Run.job_id,
    Run.job_name,
    Run.state,
    Run.origin,
    Run.queued_at,
    Run.started_at,
    Run.finished_at,
    Run.executor,
    Run.host,
    Run.progress,
)


def _job_columns() -> _AbstractLoad:
    """Load what lists show of a job; touching anything else raises."""
    return load_only(
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


# Statements are built once: the header of every page asks some of them, and building one takes
# SQLAlchemy longer than the database needs to answer it.


@cache
def _problem_counts() -> CompoundSelect[int]:
    return union_all(
        *(
            select(func.count()).select_from(kind.limit(COUNTED).subquery())
            for kind in (
                _failing().with_only_columns(literal(1)),
                _broken().with_only_columns(literal(1)),
                _overdue().with_only_columns(literal(1)),
            )
        )
    )


def _failing() -> Select[Job]:
    return (
        select(Job)
        .select_from(JobHealth)
        .join(Job, JobHealth.job_id == Job.id)
        .where(
            JobHealth.failing_since.is_not(None),
            Job.paused_at.is_(None),
            Job.broken_reason.is_(None),
        )
    )


def _broken() -> Select[Job]:
    return select(Job).where(Job.broken_reason.is_not(None), Job.paused_at.is_(None))


def _overdue() -> Select[Job]:
    """Select what is overdue; all of the condition of ix_job_due is named, so that it is used."""
    return select(Job).where(
        Job.next_run_time < bindparam("overdue_before", type_=UtcDateTime()),
        Job.paused_at.is_(None),
        Job.broken_reason.is_(None),
    )


@cache
def _active() -> Select[Run, float | None, float | None]:
    return (
        select(Run, JobHealth.usual_duration, JobHealth.long_duration)
        .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
        .options(load_only(*_RUN_COLUMNS, raiseload=True))
        .where(text(ACTIVE_RUN), Run.state == RunState.RUNNING)
        .order_by(Run.started_at)
        .limit(COUNTED)
    )


def _last_problems() -> Select[str, int, datetime | None]:
    """Select the last failure of each job among the latest ones; one walk of the index a state."""
    latest = [
        select(Run.id, Run.job_id, Run.finished_at)
        .where(Run.state == state)
        .order_by(Run.id.desc())
        .limit(RECOVERIES)
        .subquery()
        for state in PROBLEMS
    ]
    runs = union_all(*(select(part) for part in latest)).subquery()
    return select(
        runs.c.job_id,
        func.max(runs.c.id).label("run_id"),
        func.max(runs.c.finished_at).label("finished_at"),
    ).group_by(runs.c.job_id)


def _end_of_downtime(session: Session) -> datetime | None:
    """Return when the present scheduler took over, if none lived for a while before."""
    lives: Sequence[SchedulerLife] = session.scalars(
        select(SchedulerLife).order_by(SchedulerLife.id.desc()).limit(2)
    ).all()
    if len(lives) < 2:  # noqa: PLR2004 -- a gap has two sides
        return None
    present, before = lives
    return present.began_at if present.began_at - before.seen_at > DOWNTIME else None


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
