"""What people do with runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from dashboard.errors import Conflict, JobNotFound, RunNotFound
from dashboard.history.consequences import is_retry
from dashboard.history.health import FinishedRun, count_finished
from dashboard.services import audit
from dashboard.services.jobs import locked_job, queue_run, require_instance
from dashboard.storage.models import (
    ACTIVE,
    LARGEST_ID,
    WAITING_RUN,
    Job,
    Origin,
    Role,
    Run,
    RunState,
)
from dashboard.tasks import is_guarded

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor


def get_run(session: Session, run_id: int, *, lock: bool = False) -> Run:
    """Return one run, locked for changing where the database can; raises `RunNotFound`."""
    run = session.get(Run, run_id, with_for_update=lock) if 0 < run_id <= LARGEST_ID else None
    if run is None:
        raise RunNotFound(run_id)
    return run


def cancel_run(session: Session, run_id: int, *, actor: Actor) -> Run:
    """Ask for the end of a run; one that is still queued has ended with this.

    For a running one the wish becomes part of its row, and the process that runs it acts on it: a
    worker process is killed, a thread can only be asked. Asking again changes nothing. Raises
    `RunNotFound`, `Conflict` when it has ended.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "run.cancel", str(run_id)) as entry:
        # Locked: the tick may just be handing it over, or the recorder writing its end.
        run = get_run(session, run_id, lock=True)
        job = session.get(Job, run.job_id)  # None when it was removed: then it has no tags
        actor.require_for(job.tags if job else (), Role.OPERATOR)
        entry.detail |= {"job": run.job_id, "state": run.state.value}
        if run.state not in ACTIVE:
            message = f"Run {run_id} has ended already ({run.state.value})."
            raise Conflict(message)
        if run.state is RunState.QUEUED:
            _cancel_queued(session, run, now, actor)
        elif run.cancel_asked_at is None:
            run.cancel_asked_at, run.cancel_asked_by = now, actor.name
        session.flush()
    return run


def _cancel_queued(session: Session, run: Run, now: datetime, actor: Actor) -> None:
    run.state, run.finished_at = RunState.CANCELLED, now
    run.reason = f"Cancelled by {actor.name} before it began."
    gave_up = is_retry(run)
    ended = FinishedRun(run.id, run.job_id, run.state, run.scheduled_at, now, None, gave_up=gave_up)
    count_finished(session.connection(), [ended])


def retry_run(session: Session, run_id: int, *, actor: Actor) -> Run:
    """Run once more what `run_id` was, as the next attempt of the same fire time.

    It uses the parameters of the old run and the job's present task and executor. Where the next
    attempt waits already for its moment, it need not wait any longer. Raises `RunNotFound`,
    `Conflict` while it has not ended or when its job is broken or was removed, `AlreadyRunning`.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "run.retry", str(run_id)) as entry:
        actor.require_role(Role.OPERATOR)
        run = get_run(session, run_id)
        job = _job_to_retry(session, run)
        actor.require_for(job.tags, Role.OPERATOR)
        if run.task != job.task and is_guarded(job.task):
            # The parameters were chosen for another task, by anybody.
            actor.require_for(job.tags, Role.ADMIN)
        retry = _waiting_retry(session, run)
        if retry is not None:
            retry.not_before, retry.ready_at, retry.requested_by = None, now, actor.name
            session.flush()
        else:
            require_instance(session, job)
            when, attempt = run.scheduled_at, _last_attempt(session, run) + 1
            retry = queue_run(
                session, job, when, now, run.parameters, actor, Origin.RETRY, attempt=attempt
            )
        entry.detail |= {"job": job.id, "run": retry.id, "attempt": retry.attempt}
    return retry


def _job_to_retry(session: Session, run: Run) -> Job:
    """Return the job of a run, locked; raises `Conflict` when the run cannot be tried again."""
    if run.state in ACTIVE and run.not_before is None:
        message = f"Run {run.id} has not ended yet ({run.state.value})."
        raise Conflict(message)
    try:
        job = locked_job(session, run.job_id)
    except JobNotFound as error:
        message = f"Job “{run.job_id}” was removed; there is nothing left to retry."
        raise Conflict(message) from error
    if job.broken_reason is not None:
        message = f"Job “{job.id}” cannot run: {job.broken_reason}"
        raise Conflict(message)
    return job


def _last_attempt(session: Session, run: Run) -> int:
    """Return the number of the last attempt of a run's fire time."""
    same = Run.job_id == run.job_id, Run.scheduled_at == run.scheduled_at
    return session.scalar(select(func.max(Run.attempt)).where(*same)) or run.attempt


def _waiting_retry(session: Session, run: Run) -> Run | None:
    """Return the next attempt of a run's fire time, if it is waiting for its moment."""
    return session.scalar(
        select(Run)
        .where(text(WAITING_RUN), Run.job_id == run.job_id, Run.scheduled_at == run.scheduled_at)
        .with_for_update()
    )
