"""What waits for its moment: retries, and paused jobs that are to resume by themselves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, text, union_all, update

from dashboard.errors import DashboardError
from dashboard.scheduling import jobstore, lifecycle
from dashboard.storage.models import WAITING_RUN, Audit, Job, Run

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler"
"""Who resumes a job whose time has come."""

A_TICK = 100
"""Jobs resumed in one transaction."""

# Retries of a paused job wait on: whoever paused it does not want it to run.
_RIPE = (
    select(Run.not_before)
    .join(Job, Job.id == Run.job_id)
    .where(text(WAITING_RUN), Job.paused_at.is_(None))
    .order_by(Run.not_before)
    .limit(1)
)
_RESUMED = select(Job.resume_at).where(Job.resume_at.is_not(None)).order_by(Job.resume_at).limit(1)
_NEXT = union_all(*(select(part.subquery()) for part in (_RIPE, _RESUMED)))
_READY = (
    update(Run)
    .where(
        text(WAITING_RUN),
        Run.not_before <= bindparam("now"),
        Run.job_id.in_(select(Job.id).where(Job.paused_at.is_(None))),
    )
    .values(not_before=None, ready_at=bindparam("now"))
)


def next_moment(session: Session) -> datetime | None:
    """Return when the next job is due, or what waits for its moment has waited long enough."""
    moments = [jobstore.next_due(session), *session.connection().scalars(_NEXT)]
    return min((moment for moment in moments if moment is not None), default=None)


def release(session: Session, now: datetime) -> bool:
    """Queue the retries and resume the jobs whose time has come; say whether there were any."""
    ready = session.connection().execute(_READY, {"now": now})
    return _resume(session, now) or ready.rowcount > 0


def _resume(session: Session, now: datetime) -> bool:
    due = (
        select(Job)
        .where(Job.resume_at <= now)
        .order_by(Job.resume_at)
        .limit(A_TICK)
        .with_for_update(skip_locked=True)
    )
    jobs = session.scalars(due).all()
    for job in jobs:
        until = job.resume_at
        try:
            lifecycle.resume(job, now)
        except DashboardError as error:
            # It stays paused, and says why it cannot run.
            logger.warning("job %s cannot be resumed: %s", job.id, error)
            job.broken_reason, job.resume_at = str(error)[:2000], None
        job.updated_at, job.updated_by = now, SCHEDULER
        job.version += 1
        session.add(_noted(job, until, now))
    session.flush()
    return bool(jobs)


def _noted(job: Job, until: datetime | None, now: datetime) -> Audit:
    return Audit(
        at=now,
        actor=SCHEDULER,
        action="job.resume",
        target=job.id,
        outcome="done" if job.paused_at is None else "failed",
        detail={"until": until.isoformat() if until else None},
    )
