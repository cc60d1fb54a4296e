"""Bringing back jobs that were removed, as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from dashboard.errors import Conflict, Invalid, NotFound
from dashboard.history.health import bring_back_health
from dashboard.history.removed import UNDO_DAYS, last_removal
from dashboard.scheduling import lifecycle
from dashboard.scheduling.jobstore import why_broken
from dashboard.services import audit
from dashboard.storage.models import Audit, Job, Role
from dashboard.storage.rows import values_from_json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings


def restore_job(
    session: Session,
    job_id: str,
    *,
    entry_id: int | None = None,
    actor: Actor,
    settings: Settings,
) -> Job:
    """Undo the last removal of a job, or the one noted by the audit entry `entry_id`.

    It comes back whole: paused or not as it was, failing or not as it was, and fires next as its
    trigger says from now on. Raises `NotFound`, `Conflict` when it is too late or its id is taken.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.restore", job_id) as entry:
        actor.require_role(Role.ADMIN)
        removal = _removal(session, job_id, entry_id)
        actor.require_for(removal.detail["job"].get("tags") or (), Role.ADMIN)
        _require_undoable(session, removal, now)
        job = Job(**values_from_json(Job, removal.detail["job"]))
        job.version += 1
        job.updated_at, job.updated_by = now, actor.name
        _schedule(job, settings, now)
        session.add(job)
        try:
            session.flush()
        except IntegrityError as error:
            raise _taken(job.id) from error
        bring_back_health(
            session.connection(), job.id, removal.detail.get("health") or {}, since=removal.at
        )
        entry.detail["entry"] = removal.id
    return job


def _removal(session: Session, job_id: str, entry_id: int | None) -> Audit:
    if entry_id is None:
        last = last_removal(session, job_id)
        entry_id = last.entry_id if last else 0
    removal = session.get(Audit, entry_id)
    if (
        removal is None
        or (removal.action, removal.target, removal.outcome) != ("job.remove", job_id, "done")
        or "job" not in removal.detail
    ):
        raise NotFound(
            f"There is no removal of a job “{job_id}” that could be undone."
            f" A removal can be undone for {UNDO_DAYS} days."
        )
    return removal


def _require_undoable(session: Session, removal: Audit, now: datetime) -> None:
    if now - removal.at > timedelta(days=UNDO_DAYS):
        raise Conflict(f"This job was removed more than {UNDO_DAYS} days ago; it is too late.")
    if session.get(Job, removal.target) is not None:
        raise _taken(removal.target)


def _taken(job_id: str) -> Conflict:
    return Conflict(
        f"There is a job with the id “{job_id}” again, so the removed one cannot come back under"
        " it. Remove that one first; its removal can be undone as well."
    )


def _schedule(job: Job, settings: Settings, now: datetime) -> None:
    """Let a job that came back fire from now on, if it may fire at all."""
    job.broken_reason = why_broken(job, settings.executors, settings.vault)
    if job.paused_at is not None or job.finished_reason is not None:
        return
    try:
        lifecycle.fire_from(job, now)
    except Invalid:
        return  # broken, which is said already
