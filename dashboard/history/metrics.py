"""What monitoring asks: counts since the beginning, the present load, and figures of each job.

All are look-ups by key or index, and limited: the cost does not grow with history.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from dashboard.history.alertlog import count_deliveries
from dashboard.history.health import COUNTED
from dashboard.history.problems import problem_counts
from dashboard.history.system import Load, Member, read_loads, read_members
from dashboard.storage.models import (
    ALL_JOBS,
    DURATION_BOUNDS,
    DURATION_COLUMNS,
    EVER,
    Job,
    JobHealth,
    RunStats,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Totals:
    """All runs there ever were, those that have been pruned included."""

    by_state: dict[str, int]
    durations: list[tuple[float, int]]
    """For each bound in seconds how many runs took at most so long; infinity comes last."""
    seconds: float
    started: int
    delay: float  # seconds


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What is told of one job; its fields are the columns that are read."""

    id: str
    next_run_time: datetime | None
    last_success_at: datetime | None
    consecutive_failures: int | None
    usual_duration: float | None  # seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that monitoring is told of the database, read at one moment."""

    totals: Totals
    jobs: list[JobFigures]
    number_of_jobs: int
    problems: dict[str, int]
    alerts: dict[str, int]  # messages that wait, and those of the last day that did not arrive
    loads: dict[str, Load]
    oldest_queued: datetime | None
    members: list[Member]


def read_figures(session: Session, now: datetime, *, most_jobs: int) -> Figures:
    """Read what `/metrics` tells, with the figures of at most `most_jobs` jobs."""
    connection = session.connection()
    loads, oldest = read_loads(session)
    return Figures(
        totals=_totals(connection),
        jobs=[JobFigures(*row) for row in connection.execute(_JOBS, {"most": most_jobs})],
        number_of_jobs=connection.scalar(_NUMBER_OF_JOBS) or 0,
        problems=problem_counts(session, now),
        alerts=count_deliveries(session, now),
        loads=loads,
        oldest_queued=oldest,
        members=read_members(session),
    )


def _totals(connection: Connection) -> Totals:
    found = connection.execute(_EVER, {"all": ALL_JOBS, "ever": EVER}).mappings().first()
    row: dict[str, Any] = dict(found or {})  # nothing has run yet
    durations, upto = [], 0
    for bound, column in zip((*DURATION_BOUNDS, float("inf")), DURATION_COLUMNS, strict=True):
        upto += row.get(column, 0)
        durations.append((bound, upto))
    return Totals(
        by_state={state.value: row.get(state.value, 0) for state in COUNTED},
        durations=durations,
        seconds=row.get("seconds", 0.0),
        started=row.get("started", 0),
        delay=row.get("delay", 0.0),
    )


_EVER = select(*RunStats.__table__.columns).where(
    RunStats.job_id == bindparam("all"), RunStats.hour == bindparam("ever")
)
_NUMBER_OF_JOBS = select(func.count()).select_from(Job)
# By id, so that the same jobs are told of each time.
_JOBS = (
    select(
        Job.id,
        Job.next_run_time,
        JobHealth.last_success_at,
        JobHealth.consecutive_failures,
        JobHealth.usual_duration,
    )
    .select_from(Job)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .order_by(Job.id)
    .limit(bindparam("most"))
)
