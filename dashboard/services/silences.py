"""What people do about a job's trouble: acknowledge it, snooze it, and take either back.

Neither changes what the job does. They say that somebody knows, so that new trouble stands out, and
end by themselves: see `Silence` and `history.health`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.errors import Conflict, FieldError, Invalid
from dashboard.history.health import SILENCE_COLUMNS
from dashboard.history.inserts import insert_for
from dashboard.history.problems import problems_of_job
from dashboard.services import audit
from dashboard.services.jobs import get_job
from dashboard.storage.models import JobHealth, Role, Silence
from dashboard.texts import storable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor

LONGEST_REASON = 2000


def acknowledge(
    session: Session,
    job_id: str,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    actor: Actor,
) -> JobHealth:
    """Say that somebody knows what is wrong with a job: until it recovers, or `until` at most.

    Another kind of failure is news again. Raises `JobNotFound`, `Conflict` when nothing is wrong
    with the job (any more), `Invalid`, `NotAllowed`.
    """
    return _silence(session, job_id, Silence.ACKNOWLEDGED, reason, until, actor)


def snooze(
    session: Session,
    job_id: str,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    actor: Actor,
) -> JobHealth:
    """Leave a job alone whatever happens, `until` a time or without one until it recovers.

    With a time also a healthy job can be snoozed: somebody is about to work on what it needs.
    Raises as `acknowledge`.
    """
    return _silence(session, job_id, Silence.SNOOZED, reason, until, actor)


def end_silence(session: Session, job_id: str, *, actor: Actor) -> Silence | None:
    """Make a job's trouble news again, and return what it was until now."""
    with audit.action(session, actor, "job.unsilence", job_id) as entry:
        actor.require_for(get_job(session, job_id).tags, Role.OPERATOR)
        health = _locked(session, job_id)
        before = health.silence
        entry.detail["was"] = before
        for name in SILENCE_COLUMNS:
            setattr(health, name, None)
    return before


def _silence(
    session: Session,
    job_id: str,
    kind: Silence,
    reason: str | None,
    until: datetime | None,
    actor: Actor,
) -> JobHealth:
    now = datetime.now(UTC)
    action = "job.acknowledge" if kind is Silence.ACKNOWLEDGED else "job.snooze"
    with audit.action(session, actor, action, job_id) as entry:
        job = get_job(session, job_id)
        actor.require_for(job.tags, Role.OPERATOR)
        if until is not None and until <= now:
            raise Invalid([FieldError("until", "This time has passed. It has to be ahead.")])
        health = _locked(session, job_id)
        ends_at_recovery = kind is Silence.ACKNOWLEDGED or until is None
        if ends_at_recovery and not problems_of_job(session, job_id, now):
            raise Conflict(f"Nothing is wrong with “{job.name}” now; it may have recovered.")
        health.silence = kind
        health.silenced_at, health.silenced_by = now, actor.name
        health.silenced_until = until
        health.silence_reason = storable((reason or "").strip())[:LONGEST_REASON] or None
        health.silenced_failure = health.failure_kind if health.failing_since else None
        entry.detail |= {
            "reason": health.silence_reason,
            "until": until.isoformat() if until else None,
        }
    return health


def _locked(session: Session, job_id: str) -> JobHealth:
    """Return a job's health for changing, and make it if the job has not run yet.

    Locked, because the writers of history read it, count runs into it and write it whole.
    """
    empty = insert_for(session.get_bind().dialect.name, JobHealth)
    values = {"job_id": job_id, "consecutive_failures": 0, "recent": []}
    session.execute(empty.values(values).on_conflict_do_nothing())
    found = select(JobHealth).where(JobHealth.job_id == job_id)
    return session.scalars(found.with_for_update().execution_options(populate_existing=True)).one()
