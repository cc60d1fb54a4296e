"""When a job fires next, and why it does not any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.scheduling import triggers

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.storage.models import Job

NO_MORE_FIRE_TIMES = "Its trigger has no further fire time."


def why_finished(job: Job | Any, following: datetime | None, *, counted: int = 0) -> str | None:
    """Say why a job that would fire next at `following` fires no more; None when it does.

    `counted` scheduled runs are about to be added to those it has had. `job` may be a row.
    """
    if job.max_runs is not None and job.runs_counted + counted >= job.max_runs:
        times = "one scheduled run" if job.max_runs == 1 else f"{job.max_runs:,} scheduled runs"
        return f"It was to end after {times}."
    if following is None:
        return NO_MORE_FIRE_TIMES
    if job.end_at is not None and following > job.end_at:
        return f"It was to end at {job.end_at:%Y-%m-%d %H:%M:%S} UTC."
    return None


def fire_from(job: Job, now: datetime) -> None:
    """Let a job that is not paused fire from `now` on, or finish it with the reason.

    Raises `Invalid` when its trigger cannot be read.
    """
    following = triggers.kept(job.trigger, timezone=job.timezone).at_or_after(now)
    fire_next(job, following)


def fire_next(job: Job, following: datetime | None) -> None:
    """Let a job that is not paused fire at `following`, or finish it with the reason."""
    job.finished_reason = why_finished(job, following)
    job.next_run_time = None if job.finished_reason else following


def resume(job: Job, now: datetime) -> None:
    """Let a paused job fire again from `now` on, or a finished one that may go on.

    A finished one begins to count its runs anew. Raises `Invalid` as `fire_from` does.
    """
    if job.paused_at is None:
        job.runs_counted = 0
    fire_from(job, now)
    job.paused_at = job.paused_by = job.paused_reason = job.resume_at = None
