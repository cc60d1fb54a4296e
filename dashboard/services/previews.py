"""What a trigger would do among the jobs there are, before anybody saves it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from dashboard.errors import Invalid
from dashboard.scheduling import triggers
from dashboard.scheduling.preview import preview
from dashboard.storage.models import Job, JobHealth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from dashboard.scheduling.preview import Preview


YEARS = range(1970, 2200)
"""When a preview may begin: far from where calendars end."""


def preview_trigger(
    session: Session,
    data: Mapping[str, Any],
    *,
    timezone: str,
    task: str = "",
    job_id: str = "",
    count: int = 10,
    after: datetime | None = None,
) -> Preview:
    """Look ahead: the next `count` fire times and what to be warned of.

    `timezone` counts where the trigger names none. `task` lets it compare with how long that task
    usually takes; `job_id` is the job the trigger is for, which does not crowd itself. Raises
    `Invalid`.
    """
    if after is not None and after.year not in YEARS:
        message = f"Must lie between the years {YEARS[0]} and {YEARS[-1]}."
        raise Invalid.one("after", message)
    schedule = triggers.load(triggers.unanchored(data), timezone=timezone)
    job = session.get(Job, job_id) if job_id else None
    if job is not None and triggers.says_the_same(
        data, job.trigger, timezone=timezone, stored_timezone=job.timezone
    ):
        schedule = triggers.load(job.trigger, timezone=job.timezone)  # it goes on as it is

    def other_jobs(moment: datetime) -> int:
        same = select(func.count()).where(Job.next_run_time == moment, Job.id != job_id)
        return session.scalar(same) or 0

    return preview(
        schedule,
        count=count,
        after=after or datetime.now(UTC),
        usual_duration=_usual_duration(session, task) if task else None,
        others=other_jobs,
    )


def _usual_duration(session: Session, task: str) -> float | None:
    """Return the seconds a run of this task usually takes, over all jobs that have it."""
    usual = select(func.avg(JobHealth.usual_duration))
    return session.scalar(usual.join(Job, Job.id == JobHealth.job_id).where(Job.task == task))
