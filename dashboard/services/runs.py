"""What people do with runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from dashboard.errors import Conflict, JobNotFound, RunNotFound
from dashboard.services import audit
from dashboard.services.jobs import locked_job, queue_run, require_instance
from dashboard.storage.models import ACTIVE, Origin, Role, Run

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor


LARGEST_ID = 2**63 - 1
"""What a database can compare with; an address may hold any number."""


def get_run(session: Session, run_id: int) -> Run:
    """Return one run; raises `RunNotFound`."""
    run = session.get(Run, run_id) if 0 < run_id <= LARGEST_ID else None
    if run is None:
        raise RunNotFound(run_id)
    return run


def retry_run(session: Session, run_id: int, *, actor: Actor) -> Run:
    """Run once more what `run_id` was, as the next attempt of the same fire time.

    It uses the parameters of the old run and the job's present task and executor. Raises
    `RunNotFound`, `JobNotFound` when the job was removed, `Conflict` while it has not ended or the
    job is broken, `AlreadyRunning`.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "run.retry", str(run_id)) as entry:
        actor.require(Role.OPERATOR)
        run = get_run(session, run_id)
        if run.state in ACTIVE:
            message = f"Run {run_id} has not ended yet (it is {run.state.value})."
            raise Conflict(message)
        try:
            job = locked_job(session, run.job_id)
        except JobNotFound as error:
            message = f"Job “{run.job_id}” was removed; there is nothing left to retry."
            raise Conflict(message) from error
        if job.broken_reason is not None:
            message = f"Job “{job.id}” cannot run: {job.broken_reason}"
            raise Conflict(message)
        require_instance(session, job)
        same = Run.job_id == run.job_id, Run.scheduled_at == run.scheduled_at
        last = session.scalar(select(func.max(Run.attempt)).where(*same)) or run.attempt
        retry = queue_run(
            session,
            job,
            run.scheduled_at,
            now,
            run.parameters,
            actor,
            Origin.RETRY,
            attempt=last + 1,
        )
        entry.detail |= {"job": job.id, "run": retry.id, "attempt": retry.attempt}
    return retry
