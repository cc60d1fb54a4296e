"""Which fire times of a job have come, and when it fires next: what a claim goes by."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dashboard.scheduling.wallclock import TICK
from dashboard.storage.models import MOST_COALESCED

if TYPE_CHECKING:
    from sqlalchemy import Row

    from dashboard.scheduling.triggers import Schedule

FIRE_TIMES_A_TICK = 1000
"""Fire times of one job written in one transaction, which takes no further job after so many."""


def due_fire_times(
    job: Row[Any], schedule: Schedule, now: datetime
) -> tuple[list[datetime], list[datetime], datetime | None]:
    """Return the fire times to write, the earlier ones that one stands for, and the next one."""
    first = job.next_run_time
    following = schedule.at_or_after(first + TICK)
    if following is None or following > now:  # by far the most frequent case
        return [first], [], _with_jitter(following, schedule)
    if job.coalesce:
        last = schedule.last_at_or_before(now, since=first) or first
        following = schedule.at_or_after(max(last, now) + TICK)
        return [last], _passed(schedule, first, last), _with_jitter(following, schedule)
    moments = [first]
    while following is not None and following <= now and len(moments) < FIRE_TIMES_A_TICK:
        moments.append(following)
        following = schedule.at_or_after(following + TICK)
    if following is not None and following > now:
        following = _with_jitter(following, schedule)
    return moments, [], following


def _passed(schedule: Schedule, first: datetime, last: datetime) -> list[datetime]:
    """Return the fire times from `first` until before `last`, the first `MOST_COALESCED`."""
    passed: list[datetime] = []
    moment: datetime | None = first
    while moment is not None and moment < last and len(passed) < MOST_COALESCED:
        passed.append(moment)
        moment = schedule.at_or_after(moment + TICK)
    return passed


def _with_jitter(moment: datetime | None, schedule: Schedule) -> datetime | None:
    if moment is None or not schedule.jitter:
        return moment
    return moment + timedelta(seconds=random.uniform(0, schedule.jitter))  # noqa: S311 -- no secret
