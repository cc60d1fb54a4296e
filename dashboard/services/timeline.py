"""The timeline: what ran, what will fire, and when there was nobody to run anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.errors import Invalid
from dashboard.history.timeline import (
    LANES,
    BusyMoment,
    Day,
    Downtime,
    History,
    Lane,
    read_busy_moments,
    read_days,
    read_downtimes,
    read_lanes,
)
from dashboard.scheduling import triggers
from dashboard.scheduling.firetimes import Effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

EXPECTED = 60
"""Fire times of one job that are looked up ahead; of more, some that are evenly spaced."""

EFFORT = 300
"""What looking ahead for one job may cost."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A stretch of time around `now`; times are aware UTC."""

    since: datetime
    now: datetime
    until: datetime
    history: History
    expected: dict[str, list[datetime]]  # by job id: the next one, and what a picture can show
    downtimes: list[Downtime]
    busy: list[BusyMoment]
    days: list[Day]


def read_timeline(
    session: Session,
    *,
    now: datetime,
    back: timedelta,
    ahead: timedelta,
    only: Sequence[str] | None = None,
) -> Timeline:
    """Read the last `back` and the next `ahead`; `only` names the jobs that are wanted."""
    since, until = now - back, now + ahead
    history = read_lanes(session, since, now, until, None if only is None else only[:LANES])
    return Timeline(
        since=since,
        now=now,
        until=until,
        history=history,
        expected={lane.job_id: _expected(lane, now, until) for lane in history.lanes},
        downtimes=read_downtimes(session, since, now),
        busy=read_busy_moments(session, now, until),
        days=read_days(session, now),
    )


def _expected(lane: Lane, now: datetime, until: datetime) -> list[datetime]:
    """Return when a job will fire until then; a paused or broken one does not.

    Fire times closer to each other than a picture can show are left out, so that a job of every
    second costs no more than any other.
    """
    job = lane.job
    if job is None or job.next_run_time is None or job.paused_at or job.broken_reason:
        return []
    first: datetime = max(job.next_run_time, now)
    if first >= until:
        return []
    try:
        trigger = triggers.kept(job.trigger, timezone=job.timezone).trigger
    except Invalid:
        return []
    moments, effort = [first], Effort(EFFORT)
    apart = max((until - now) / EXPECTED, timedelta(microseconds=1))
    while (moment := trigger.seek(moments[-1] + apart, effort)) is not None and moment < until:
        moments.append(moment)
    return moments
