"""What the timeline asks: the runs of a stretch of time, job by job, downtime, and days counted.

However much history there is, at most `MOST_RUNS` runs are read, the newest ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, func, select, text

from dashboard.history.downtimes import DOWNTIME
from dashboard.history.run_list import first_queued_at
from dashboard.storage.models import (
    ACTIVE_RUN,
    ALL_JOBS,
    PROBLEMS,
    Job,
    Run,
    RunState,
    RunStats,
    SchedulerLife,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

MOST_RUNS = 10_000
"""Runs read for one picture; of more, the newest."""

LANES = 50
"""Jobs drawn under each other."""

LIVES = 200
"""Schedulers looked at for downtime, the latest ones."""

BUSY_FROM = 3
"""Jobs that fire at one moment, to be named as a collision."""

BUSY_MOMENTS = 10
"""Collisions that are named, the largest ones."""

FIRES_LOOKED_AT = 5000
"""Next fire times looked at for collisions, the nearest ones."""

DAYS = 91
"""Days of the calendar: thirteen weeks."""


@dataclass(frozen=True, slots=True)
class LaneRun:
    """A run as a lane shows it."""

    id: int
    state: RunState
    began: datetime  # when it started; one that never did stands at its fire time
    ended: datetime | None  # None while it goes on


@dataclass(slots=True)
class Lane:
    """One job and its runs, oldest first."""

    job_id: str
    name: str
    job: Row[Any] | None  # what is needed to look ahead; None once it was removed
    runs: list[LaneRun] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Downtime:
    """A stretch in which no scheduler lived."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class BusyMoment:
    """A moment at which several jobs fire."""

    moment: datetime
    jobs: int
    names: list[str]  # of some of them


@dataclass(frozen=True, slots=True)
class Day:
    """How the runs of one day (UTC) ended."""

    day: date
    succeeded: int
    failed: int  # or interrupted
    missed: int  # or skipped

    @property
    def total(self) -> int:
        """All runs that are told apart here."""
        return self.succeeded + self.failed + self.missed


@dataclass(frozen=True, slots=True)
class History:
    """What happened between two moments."""

    lanes: list[Lane]
    more_lanes: int  # jobs that had no room
    runs: int
    complete_since: datetime  # runs before this are not in it


def read_lanes(
    session: Session, since: datetime, now: datetime, until: datetime, only: Sequence[str] | None
) -> History:
    """Read the runs from `since` on by job, and the jobs that fire between `now` and `until`.

    `only` names the jobs that are wanted; None means those that have most to tell: what failed
    first, then the busiest, then what fires next.
    """
    rows = _runs(session, since, only)
    lanes: dict[str, Lane] = {}
    for row in reversed(rows):
        began = row.started_at or row.scheduled_at
        if (row.finished_at or now) < since:
            continue
        lane = lanes.setdefault(row.job_id, Lane(row.job_id, row.job_name, None))
        lane.name = row.job_name
        lane.runs.append(LaneRun(row.id, row.state, began, row.finished_at))
    complete_since = since
    if len(rows) == MOST_RUNS:
        complete_since = max(since, rows[-1].queued_at)
    chosen = sorted(lanes.values(), key=_importance)[:LANES]
    jobs = _jobs(session, [lane.job_id for lane in chosen], now, until, only)
    for lane in chosen:
        if (job := jobs.pop(lane.job_id, None)) is not None:
            lane.job, lane.name = job, job.name
    more = max(0, len(lanes) + len(jobs) - LANES)
    chosen += [Lane(job.id, job.name, job) for job in jobs.values()][: LANES - len(chosen)]
    chosen.sort(key=lambda lane: (lane.name.casefold(), lane.job_id))
    return History(chosen, more, sum(len(lane.runs) for lane in chosen), complete_since)


def read_downtimes(session: Session, since: datetime, now: datetime) -> list[Downtime]:
    """Return the stretches after `since` in which no scheduler lived, oldest first."""
    lives = session.execute(
        select(SchedulerLife.began_at, SchedulerLife.seen_at)
        .where(SchedulerLife.seen_at.is_not(None))
        .order_by(SchedulerLife.id.desc())
        .limit(LIVES)
    ).all()
    found = []
    next_began = now
    for life in lives:
        if next_began - life.seen_at > DOWNTIME and next_began > since:
            found.append(Downtime(max(since, life.seen_at), next_began))
        next_began = min(next_began, life.began_at)
    return found[::-1]


def read_busy_moments(session: Session, now: datetime, until: datetime) -> list[BusyMoment]:
    """Return the moments at which most jobs fire next, in order of time."""
    due = (
        select(Job.next_run_time, Job.name)
        .where(
            Job.next_run_time >= now,
            Job.next_run_time < until,
            Job.paused_at.is_(None),
            Job.broken_reason.is_(None),
        )
        .order_by(Job.next_run_time)
        .limit(FIRES_LOOKED_AT)
        .subquery()
    )
    number = func.count().label("jobs")
    largest = session.execute(
        select(due.c.next_run_time, number, func.min(due.c.name), func.max(due.c.name))
        .group_by(due.c.next_run_time)
        .having(number >= BUSY_FROM)
        .order_by(number.desc(), due.c.next_run_time)
        .limit(BUSY_MOMENTS)
    ).all()
    return [
        BusyMoment(moment, jobs, [first, last]) for moment, jobs, first, last in sorted(largest)
    ]


def read_days(session: Session, now: datetime) -> list[Day]:
    """Return how the runs of the last days ended, oldest first; a day without runs is there too."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    hours = session.connection().execute(
        select(
            RunStats.hour,
            RunStats.succeeded,
            RunStats.failed + RunStats.interrupted,
            RunStats.missed + RunStats.skipped,
        ).where(RunStats.job_id == ALL_JOBS, RunStats.hour >= begin)
    )
    counts = {first + timedelta(days=back): [0, 0, 0] for back in range(DAYS)}
    for hour, *numbers in hours:
        day = counts.get(hour.date())
        if day is not None:
            day[:] = [before + more for before, more in zip(day, numbers, strict=True)]
    return [Day(day, *numbers) for day, numbers in counts.items()]


def _importance(lane: Lane) -> tuple[int, int]:
    bad = sum(run.state in PROBLEMS for run in lane.runs)
    return -bad, -len(lane.runs)


def _runs(session: Session, since: datetime, only: Sequence[str] | None) -> list[Any]:
    """Return the runs queued since, and what is active from before that, newest first."""
    columns = select(
        Run.id,
        Run.job_id,
        Run.job_name,
        Run.state,
        Run.scheduled_at,
        Run.queued_at,
        Run.started_at,
        Run.finished_at,
    )
    if only is not None:
        columns = columns.where(Run.job_id.in_(only))
    recent = columns.where(Run.id >= func.coalesce(first_queued_at(since), 1))
    connection = session.connection()
    rows = list(connection.execute(recent.order_by(Run.id.desc()).limit(MOST_RUNS)))
    oldest = rows[-1].id if rows else None
    active = columns.where(text(ACTIVE_RUN)).order_by(Run.id.desc()).limit(LANES)
    older = [row for row in connection.execute(active) if oldest is None or row.id < oldest]
    return rows + older if len(rows) < MOST_RUNS else rows


def _jobs(
    session: Session,
    ids: Sequence[str],
    now: datetime,
    until: datetime,
    only: Sequence[str] | None,
) -> dict[str, Row[Any]]:
    """Return the jobs of `ids`, and those that fire next, by id."""
    columns = select(
        Job.id,
        Job.name,
        Job.trigger,
        Job.timezone,
        Job.next_run_time,
        Job.paused_at,
        Job.broken_reason,
    )
    connection = session.connection()
    found = {row.id: row for row in connection.execute(columns.where(Job.id.in_(ids)))}
    soon = columns.where(
        Job.next_run_time >= now,
        Job.next_run_time < until,
        Job.paused_at.is_(None),
        Job.broken_reason.is_(None),
    )
    if only is not None:
        soon = columns.where(Job.id.in_(only))
    for row in connection.execute(soon.order_by(Job.next_run_time).limit(LANES)):
        found.setdefault(row.id, row)
    return found
