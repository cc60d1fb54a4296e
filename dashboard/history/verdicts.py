"""From when on a job counts as overdue, a run as unusually long, and a job as healthy."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dashboard.storage.models import Health

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
    stopped = job.paused_at is not None or job.broken_reason is not None
    return health_of(
        failing_since=health.failing_since if health else None,
        due=None if stopped else job.next_run_time,
        last_finished_at=health.last_finished_at if health else None,
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


def slow_from(usual: float | None, long: float | None) -> float | None:
    """Return the seconds from which a run counts as unusually slow; None if nothing is usual."""
    if usual is None:
        return None
    return max(usual * SLOW_FACTOR, long or 0.0, SLOW_AT_LEAST)


def is_slow(seconds: float | None, usual: float | None, long: float | None) -> bool:
    """Say whether a run took unusually long."""
    limit = slow_from(usual, long)
    return seconds is not None and limit is not None and seconds >= limit
