"""From when on a job counts as overdue, a run as unusually long, and a job as healthy."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dashboard.storage.models import Health, RunState

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.storage.models import Job, JobHealth

OVERDUE_AFTER = timedelta(seconds=60)
"""How late the scheduler may look at a due job, and how long at least a run may wait for a free
place. The misfire grace time does not come into the first: a fire time is claimed at once even when
that is spent, and becomes a run that was missed."""

SLOW_FACTOR = 3
"""A run is unusually long when it takes this many times what is usual, and longer than most."""

SLOW_AT_LEAST = 5.0
"""Seconds below which no run is called unusually long."""


def job_health(job: Job, health: JobHealth | None, now: datetime) -> Health:
    """Say how a job has been doing, from its rows."""
    return health_of(
        failing_since=health.failing_since if health else None,
        may_fire=job.paused_at is None and job.broken_reason is None,
        next_run_time=job.next_run_time,
        last_state=health.last_state if health else None,
        last_finished_at=health.last_finished_at if health else None,
        now=now,
    )


def health_of(
    *,
    failing_since: datetime | None,
    may_fire: bool,
    next_run_time: datetime | None,
    last_state: RunState | None,
    last_finished_at: datetime | None,
    now: datetime,
) -> Health:
    """Say how a job has been doing; `may_fire` unless it is paused or broken.

    It is overdue when nobody looked at it in time, or its last fire time passed without a start.
    `history.problems` adds what only rows of runs tell: that one waits for a place for too long.
    """
    if failing_since is not None:
        return Health.FAILING
    unseen = next_run_time is not None and next_run_time < now - OVERDUE_AFTER
    if may_fire and (unseen or last_state is RunState.MISSED):
        return Health.OVERDUE
    return Health.UNKNOWN if last_finished_at is None else Health.HEALTHY


def slow_from(usual: float | None, long: float | None) -> float | None:
    """Return the seconds from which a run counts as unusually slow; None if nothing is usual."""
    if usual is None:
        return None
    return max(usual * SLOW_FACTOR, long or 0.0, SLOW_AT_LEAST)


def is_slow(seconds: float | None, usual: float | None, long: float | None) -> bool:
    """Say whether a run took unusually long."""
    limit = slow_from(usual, long)
    return seconds is not None and limit is not None and seconds >= limit
