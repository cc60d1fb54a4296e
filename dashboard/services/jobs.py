"""What people do with jobs.

Nothing here commits, and nothing here calls the scheduler: the rows are the truth, and the
scheduler reads them at its next tick.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from dashboard.errors import (
    AlreadyRunning,
    Conflict,
    DuplicateId,
    Invalid,
    JobNotFound,
    StaleEdit,
)
from dashboard.scheduling import lifecycle
from dashboard.scheduling.jobstore import cancel_all_queued, why_broken
from dashboard.services import audit
from dashboard.services.jobdata import FIELDS, check_change, check_new, id_from_name
from dashboard.services.joboptions import STOPS
from dashboard.storage.models import (
    ACTIVE_RUN,
    HOST,
    Job,
    JobHealth,
    JobState,
    Origin,
    Role,
    Run,
    RunState,
)
from dashboard.storage.rows import row_as_json
from dashboard.tasks import get_task, shown_parameters
from dashboard.texts import is_storable, storable
from dashboard.vault import NO_VAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.vault import Vault


LAST_YEAR = 9998
"""In which a pause may end by itself."""


def get_job(session: Session, job_id: str) -> Job:
    """Return one job; raises `JobNotFound`."""
    job = session.get(Job, job_id) if is_storable(job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def locked_job(session: Session, job_id: str) -> Job:
    """Return one job for changing: on PostgreSQL its row is locked until the transaction ends.

    Raises `JobNotFound`.
    """
    job = session.get(Job, job_id, with_for_update=True) if is_storable(job_id) else None
    if job is None:
        raise JobNotFound(job_id)
    return job


def require_own(job: Job) -> None:
    """Raise `Conflict` for a job of a host's own scheduler: only the host's code can change it."""
    if job.executor == HOST:
        message = (
            f"Job “{job.id}” belongs to the app's own scheduler. It can be run, paused, resumed and"
            " removed here, but only the app can change what it does and when."
        )
        raise Conflict(message)


def job_state(job: Job, *, running: bool) -> JobState:
    """Say what a job is doing, `running` telling whether it has a run that runs."""
    if job.broken_reason is not None:
        return JobState.BROKEN
    if running:
        return JobState.RUNNING
    if job.paused_at is not None:
        return JobState.PAUSED
    if job.next_run_time is None:
        return JobState.FINISHED
    return JobState.SCHEDULED


def create_job(
    session: Session, data: Mapping[str, Any], *, actor: Actor, settings: Settings
) -> Job:
    """Add a job; without an id it gets one made from its name.

    Raises `Invalid`, `DuplicateId`, `NotAllowed`.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.add", str(data.get("id") or "")) as entry:
        actor.require_role(Role.ADMIN)
        values = check_new(data, settings, now)
        _keep_in_reach(values["tags"], actor)
        values["id"] = values["id"] or free_id(session, id_from_name(values["name"]))
        job = _new_job(values, actor, now)
        session.add(job)
        try:
            session.flush()
        except IntegrityError as error:
            raise DuplicateId(values["id"]) from error
        entry.target = job.id
        entry.detail["job"] = _told(job)
    return job


def add_checked(session: Session, checked: Iterable[dict[str, Any]], *, actor: Actor) -> None:
    """Add many jobs with values that `check_new` has returned, in few statements.

    Raises `Conflict` when one of their ids is taken.
    """
    now = datetime.now(UTC)
    for values in checked:
        job = _new_job(values, actor, now)
        session.add(job)
        audit.note_done(session, actor, "job.add", job.id, job=_told(job))
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("A job with one of these ids was added meanwhile.") from error


def _new_job(values: dict[str, Any], actor: Actor, now: datetime) -> Job:
    job = Job(**values, runs_counted=0, created_at=now, created_by=actor.name)
    lifecycle.fire_next(job, job.next_run_time)
    job.updated_at, job.updated_by = now, actor.name
    return job


def _told(job: Job) -> dict[str, Any]:
    """Return a new job as the audit log tells it."""
    told = snapshot(job)
    _mask(told, job.task)
    return told


def change_job(
    session: Session,
    job_id: str,
    data: Mapping[str, Any],
    *,
    version: int,
    actor: Actor,
    settings: Settings,
) -> Job:
    """Change the fields named in `data`. A paused job stays paused.

    A new trigger sets the next run time from now on; APScheduler's `reschedule_job` does so for a
    paused job too, and resumes it behind the operator's back.
    Raises `JobNotFound`, `StaleEdit`, `Invalid`, `NotAllowed` (an operator changes triggers only).
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.change", job_id) as entry:
        job = locked_job(session, job_id)
        needed = Role.OPERATOR if set(data) <= {"trigger"} else Role.ADMIN
        actor.require_for(job.tags, needed)
        if job.version != version:
            raise StaleEdit(job_id, expected=version, actual=job.version)
        require_own(job)
        before = snapshot(job)
        values = check_change(job, data, settings, now)
        _keep_in_reach(values.get("tags", job.tags), actor)
        _apply(job, values, now)
        job.broken_reason = why_broken(job, settings.executors, settings.vault)
        _touch(job, actor, now)
        entry.difference(before, snapshot(job))
        _mask(entry.detail["before"], before["task"])
        _mask(entry.detail["after"], job.task)
    return job


def _apply(job: Job, values: dict[str, Any], now: datetime) -> None:
    """Give a job new values. What says when it is finished holds from now on.

    A new trigger begins anew; a new limit of runs counts from now on where there was none.
    """
    next_run_time = values.pop("next_run_time", None)
    if "trigger" in values or job.max_runs is None:
        job.runs_counted = 0
    for name, value in values.items():
        setattr(job, name, value)
    if "trigger" in values:
        job.finished_reason = job.next_run_time = None
        if job.paused_at is None:
            lifecycle.fire_next(job, next_run_time)
    elif job.paused_at is None and not values.keys().isdisjoint(STOPS):
        if job.next_run_time is None:
            lifecycle.fire_from(job, now)
        else:
            lifecycle.fire_next(job, job.next_run_time)


def pause_job(
    session: Session,
    job_id: str,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    actor: Actor,
) -> Job:
    """Stop a job from firing until somebody resumes it, or by itself at `until`.

    Pausing a paused job changes nothing but that moment, if one is given. Raises `Invalid` for a
    moment that is past.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.pause", job_id) as entry:
        job = locked_job(session, job_id)
        actor.require_for(job.tags, Role.OPERATOR)
        require_ahead(until, now)
        if job.paused_at is None:
            job.paused_at, job.paused_by = now, actor.name
            job.paused_reason = storable((reason or "").strip())[:2000] or None
            job.next_run_time, job.resume_at = None, until
            _touch(job, actor, now)
        elif until is not None and until != job.resume_at:
            job.resume_at = until
            _touch(job, actor, now)
        entry.detail["reason"] = job.paused_reason
        if job.resume_at is not None:
            entry.detail["until"] = job.resume_at.isoformat()
    return job


def require_ahead(until: datetime | None, now: datetime) -> None:
    """Raise `Invalid` unless a pause can end by itself at `until`, if that is given."""
    if until is not None and until <= now:
        raise Invalid.one("until", "This moment is past; choose one that is yet to come.")
    if until is not None and until.year > LAST_YEAR:  # in UTC it may be where calendars end
        raise Invalid.one("until", f"Must not lie after the year {LAST_YEAR}.")


def resume_job(session: Session, job_id: str, *, actor: Actor) -> Job:
    """Let a paused job fire again, from its next fire time on, or a finished one that may.

    A job whose trigger has none left is finished, not removed. Fire times that passed while it
    was paused are not made up for. A finished job counts its runs anew.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.resume", job_id):
        job = locked_job(session, job_id)
        actor.require_for(job.tags, Role.OPERATOR)
        if job.paused_at is not None or job.next_run_time is None:
            lifecycle.resume(job, now)
            _touch(job, actor, now)
    return job


def remove_job(session: Session, job_id: str, *, actor: Actor) -> None:
    """Remove a job; its runs stay. What was queued of it is cancelled, what runs goes on.

    The audit entry keeps the whole job, from which `restoring.restore_job` brings it back.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.remove", job_id) as entry:
        job = locked_job(session, job_id)
        actor.require_for(job.tags, Role.ADMIN)
        entry.detail["job"] = row_as_json(job)
        cancel_all_queued(session, job_id, now)
        health = session.get(JobHealth, job_id)
        if health is not None:
            # The strip of its runs can be made again from them.
            entry.detail["health"] = row_as_json(health, without=("recent",))
            session.delete(health)
        session.delete(job)


def run_now(
    session: Session,
    job_id: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    actor: Actor,
    vault: Vault = NO_VAULT,
) -> Run:
    """Ask for one run at once, with other `parameters` if given; the schedule does not change.

    Raises `AlreadyRunning` when max_instances are queued or running, `Conflict` for a broken job,
    `NotAllowed` when an operator chooses parameters of a guarded task.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "job.run", job_id) as entry:
        job = locked_job(session, job_id)
        actor.require_for(job.tags, Role.OPERATOR)
        if job.broken_reason is not None:
            message = f"Job “{job_id}” cannot run: {job.broken_reason}"
            raise Conflict(message)
        require_instance(session, job)
        values = job.parameters
        if parameters is not None:
            task = get_task(job.task)
            if task.guarded:
                actor.require_for(job.tags, Role.ADMIN)
            values = task.parameters.validate(parameters, vault=vault, kept=job.parameters)
            entry.detail["parameters"] = shown_parameters(job.task, values)
        run = queue_run(
            session, job, _free_moment(session, job_id, now), now, values, actor, Origin.MANUAL
        )
        entry.detail["run"] = run.id
    return run


def queue_run(
    session: Session,
    job: Job,
    scheduled_at: datetime,
    now: datetime,
    parameters: dict[str, Any],
    actor: Actor,
    origin: Origin,
    attempt: int = 1,
) -> Run:
    """Write a queued run; the next tick hands it over like any other."""
    run = Run(
        job_id=job.id,
        job_name=job.name,
        task=job.task,
        parameters=parameters,
        scheduled_at=scheduled_at,
        attempt=attempt,
        origin=origin,
        requested_by=actor.name,
        state=RunState.QUEUED,
        queued_at=now,
        executor=job.executor,
    )
    session.add(run)
    session.flush()
    return run


def require_instance(session: Session, job: Job) -> None:
    """Raise `AlreadyRunning` unless one more run of `job` may be queued."""
    active = session.scalar(
        select(func.count())
        .select_from(Run)
        .where(text(ACTIVE_RUN), Run.job_id == job.id, Run.not_before.is_(None))
    )
    if (active or 0) >= job.max_instances:
        raise AlreadyRunning(job.id, job.max_instances)


def snapshot(job: Job) -> dict[str, Any]:
    """Return a job as people know it, as JSON: the audit log notes how that changes."""
    values = {name: getattr(job, name) for name in FIELDS}
    values["end_at"] = job.end_at.isoformat() if job.end_at else None
    return values | {"paused": job.paused_at is not None}


def _keep_in_reach(tags: list[str], actor: Actor) -> None:
    """Let nobody make a job that is not theirs to look after any more."""
    if not actor.reaches(tags):
        message = f"You are limited to jobs tagged {' or '.join(actor.tags)}: it needs such a tag."
        raise Invalid.one("tags", message)


def _mask(told: dict[str, Any], task: str) -> None:
    """Put masks for the secrets among what is told of a job of that task."""
    if "parameters" in told:
        told["parameters"] = shown_parameters(task, told["parameters"])


def _touch(job: Job, actor: Actor, now: datetime) -> None:
    job.updated_at, job.updated_by = now, actor.name
    job.version += 1


def free_id(session: Session, wanted: str) -> str:
    """Return `wanted`, with a number after it if there is such a job already."""
    candidate, number = wanted, 1
    while session.get(Job, candidate) is not None:
        number += 1
        candidate = f"{wanted}-{number}"
    return candidate


def _free_moment(session: Session, job_id: str, now: datetime) -> datetime:
    """Return `now`, moved on by microseconds if a run of the job has that time already."""
    moment = now
    while session.scalar(select(Run.id).where(Run.job_id == job_id, Run.scheduled_at == moment)):
        moment += timedelta(microseconds=1)
    return moment
