"""What the timeline asks: the runs of a stretch of time, job by job, downtime, and days counted.

However much history there is, at most `MOST_RUNS` runs are read, the newest ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, case, func, select, text, true

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

    from sqlalchemy.orm import InstrumentedAttribute, Session

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
    tally = _tally(session, since, only)
    chosen = sorted(tally.jobs, key=tally.importance)[:LANES]
    jobs = _jobs(session, chosen, now, until, only)
    more = max(0, len(tally.jobs.keys() | jobs.keys()) - LANES)
    chosen += [job_id for job_id in jobs if job_id not in tally.jobs][: LANES - len(chosen)]
    lanes = {job_id: Lane(job_id, "", jobs.get(job_id)) for job_id in chosen}
    for row in _runs(session, chosen, tally):
        lane = lanes[row.job_id]
        lane.name = row.job_name
        began = row.started_at or row.scheduled_at
        if (row.finished_at or now) >= since:
            lane.runs.append(LaneRun(row.id, row.state, began, row.finished_at))
    shown = [lane for lane in lanes.values() if lane.runs or lane.job is not None]
    for lane in shown:
        lane.name = lane.job.name if lane.job else lane.name
    return History(
        sorted(shown, key=lambda lane: (lane.name.casefold(), lane.job_id)),
        more,
        sum(len(lane.runs) for lane in shown),
        tally.complete_since,
    )


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


@dataclass(slots=True)
class _Tally:
    """How many runs each job has in a picture, and how many of them went wrong."""

    oldest: int | None  # id of the first run of the stretch; None = there is none
    complete_since: datetime
    jobs: dict[str, tuple[int, int]]  # by id: runs that went wrong, runs

    def importance(self, job_id: str) -> tuple[int, int]:
        """Return what to sort jobs by, so that those with most to tell come first."""
        bad, runs = self.jobs[job_id]
        return -bad, -runs


def _tally(session: Session, since: datetime, only: Sequence[str] | None) -> _Tally:
    """Count the runs queued since, and what is active from before that, in the database.

    Reading ten thousand runs to show those of fifty jobs would take ten times as long.
    """
    rows = session.connection()
    wanted = true() if only is None else Run.job_id.in_(only)
    newest = (
        select(Run.id, Run.job_id, Run.state)
        .where(Run.id >= func.coalesce(first_queued_at(since), 1), wanted)
        .order_by(Run.id.desc())
        .limit(MOST_RUNS)
        .subquery()
    )
    bad = func.sum(case((newest.c.state.in_(PROBLEMS), 1), else_=0))
    counted = rows.execute(
        select(newest.c.job_id, bad, func.count(), func.min(newest.c.id)).group_by(newest.c.job_id)
    ).all()
    jobs = {job_id: (bad, runs) for job_id, bad, runs, _ in counted}
    oldest = min((first for *_, first in counted), default=None)
    if sum(runs for _, runs in jobs.values()) == MOST_RUNS:
        since = max(since, rows.scalar(select(Run.queued_at).where(Run.id == oldest)) or since)
    for job_id in rows.scalars(_active(oldest, Run.job_id).where(wanted).limit(LANES)):
        bad, runs = jobs.get(job_id, (0, 0))
        jobs[job_id] = bad, runs + 1
    return _Tally(oldest, since, jobs)


def _active(oldest: int | None, *columns: InstrumentedAttribute[Any]) -> Select[Any]:
    """Select runs that go on since before the stretch began, the newest first."""
    earlier = true() if oldest is None else Run.id < oldest
    return select(*columns).where(text(ACTIVE_RUN), earlier).order_by(Run.id.desc())


def _runs(session: Session, jobs: Sequence[str], tally: _Tally) -> list[Row[Any]]:
    """Return the runs of these jobs that were counted, oldest first."""
    of_jobs = Run.job_id.in_(jobs)
    rows = session.connection()
    active = rows.execute(_active(tally.oldest, *_LANE_RUN).where(of_jobs).limit(LANES))
    found = list(active)[::-1]
    if tally.oldest is not None:
        stretch = select(*_LANE_RUN).where(of_jobs, Run.id >= tally.oldest)
        found += rows.execute(stretch.order_by(Run.id))
    return found


_LANE_RUN = (
    Run.id,
    Run.job_id,
    Run.job_name,
    Run.state,
    Run.scheduled_at,
    Run.started_at,
    Run.finished_at,
)


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
