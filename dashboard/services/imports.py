"""Bringing the jobs of a file in: first a plan that says what would happen, then all of it or none.

A file says how its jobs are to be, and nothing of others: those are left alone, never removed. What
it leaves out of a job has its default, except for pausing: a job stays as paused as it is unless
the file says otherwise, for nobody wants a file to resume what somebody stopped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dashboard.documents import UnusableFile
from dashboard.errors import Conflict, FieldError, Invalid
from dashboard.scheduling import triggers
from dashboard.services import audit, jobs
from dashboard.services.jobdata import FIELDS, check_change, check_new
from dashboard.services.jobfiles import job_document, portable_trigger
from dashboard.storage.models import Job, Role
from dashboard.tasks import shown_parameters
from dashboard.texts import is_storable
from dashboard.vault import ANOTHER, is_sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

    from dashboard.documents import FileProblem
    from dashboard.services.audit import Actor
    from dashboard.services.jobfiles import JobFile, Wanted
    from dashboard.settings import Settings

_CHUNK = 500
_ALWAYS = {"type": "interval", "hours": 1}
"""A trigger without faults, where only the other fields are checked."""


class StalePlan(Conflict):
    """Jobs were changed since the plan was shown; nothing was done."""

    def __init__(self) -> None:
        super().__init__(
            "Jobs were changed since this was worked out, so something else would happen now."
            " Nothing was done; look at what would happen now."
        )


class Action(StrEnum):
    """What happens to one job of a file."""

    ADD = "add"
    CHANGE = "change"
    KEEP = "keep"
    """It is as the file wants it already."""
    LEAVE_OUT = "leave out"
    """It is finished, so adding it would give a job that never runs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of a job that is not as it was."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one job."""

    action: Action
    wanted: Wanted
    name: str = ""
    version: int | None = None
    """The version of the job that is there; None where there is none."""
    values: dict[str, Any] = field(default_factory=dict)
    """What a job that is added has in its columns."""
    changes: dict[str, Any] = field(default_factory=dict)
    """The fields to change, as `change_job` takes them."""
    pause: bool | None = None
    """True pauses, False resumes."""
    differences: tuple[Difference, ...] = ()

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.wanted.data["id"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What importing a file would do."""

    steps: list[Step]
    problems: list[FileProblem]
    warnings: list[str]

    def of(self, action: Action) -> list[Step]:
        """Return the steps of one kind, in the file's order."""
        return [step for step in self.steps if step.action is action]

    @property
    def does_something(self) -> bool:
        """Whether anything would be different afterwards."""
        return any(step.action in {Action.ADD, Action.CHANGE} for step in self.steps)

    @property
    def digest(self) -> str:
        """A short text that differs for any plan that would do something else."""
        steps = [
            (
                step.action,
                step.id,
                step.version,
                step.wanted.data,
                step.changes,
                step.pause,
                step.wanted.paused_reason,
                step.wanted.resume_at,
            )
            for step in self.steps
        ]
        text = json.dumps(steps, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def plan_import(session: Session, file: JobFile, *, settings: Settings) -> Plan:
    """Say what importing `file` would do now, and what is wrong with it.

    This is most of the work: reading triggers takes longer than writing jobs, and nobody has to
    wait for it.
    """
    now = datetime.now(UTC)
    present = _present(session, [wanted.data["id"] for wanted in file.jobs])
    steps: list[Step] = []
    problems: list[FileProblem] = []
    for wanted in file.jobs:
        job = present.get(wanted.data["id"])
        try:
            step = (
                _adding(wanted, settings, now)
                if job is None
                else _changing(job, wanted, settings, now)
            )
        except Invalid as error:
            problems += [wanted.problem(each.field, each.message) for each in error.errors]
        except Conflict as error:
            problems.append(wanted.problem("id", str(error)))
        else:
            steps.append(step)
    return Plan(steps, sorted(problems, key=lambda each: each.line or 0), file.warnings)


def carry_out(
    session: Session,
    plan: Plan,
    *,
    actor: Actor,
    settings: Settings,
    digest: str | None = None,
) -> None:
    """Do what a plan says, all of it or nothing.

    Raises `UnusableFile` if anything in the file is refused, `NotAllowed`, and `StalePlan` if
    `digest` is that of another plan or jobs were changed since it was made.
    """
    with audit.action(session, actor, "job.import", "") as entry:
        actor.require(Role.ADMIN)
        if plan.problems:
            raise UnusableFile(plan.problems)
        if digest is not None and digest != plan.digest:
            raise StalePlan
        _require_unchanged(session, plan)
        added = [step.values for step in plan.of(Action.ADD)]
        jobs.add_checked(session, added, actor=actor)
        for step in plan.steps:
            _take(session, step, actor, settings)
        for action in (Action.ADD, Action.CHANGE):
            entry.detail[action.value] = [step.id for step in plan.of(action)]
        entry.detail["kept"] = len(plan.of(Action.KEEP))


def _require_unchanged(session: Session, plan: Plan) -> None:
    """Raise `StalePlan` unless the jobs are as the plan found them; they stay so from now on."""
    present = _present(session, [step.id for step in plan.steps], lock=True)
    versions = {job_id: job.version for job_id, job in present.items()}
    if any(versions.get(step.id) != step.version for step in plan.steps):
        raise StalePlan


def _take(session: Session, step: Step, actor: Actor, settings: Settings) -> None:
    """Change or pause a job by the services that people use: it is audited like what they do."""
    if step.changes:
        jobs.change_job(
            session,
            step.id,
            step.changes,
            version=step.version or 0,
            actor=actor,
            settings=settings,
        )
    if step.pause is True:
        wanted = step.wanted
        jobs.pause_job(
            session, step.id, reason=wanted.paused_reason, until=wanted.resume_at, actor=actor
        )
    elif step.pause is False:
        jobs.resume_job(session, step.id, actor=actor)


def _present(session: Session, ids: Iterable[Any], *, lock: bool = False) -> dict[Any, Job]:
    """Return the jobs that exist already; in the order of their ids, so that locks never cross."""
    known = sorted(job_id for job_id in ids if isinstance(job_id, str) and is_storable(job_id))
    found: dict[Any, Job] = {}
    for start in range(0, len(known), _CHUNK):
        query = select(Job).where(Job.id.in_(known[start : start + _CHUNK])).order_by(Job.id)
        rows = session.scalars(query.with_for_update() if lock else query)
        found |= {job.id: job for job in rows}
    return found


def _adding(wanted: Wanted, settings: Settings, now: datetime) -> Step:
    if wanted.finished:
        check_new(wanted.data | {"trigger": _ALWAYS}, settings, now)
        return Step(Action.LEAVE_OUT, wanted, _name_in(wanted))
    values = check_new(wanted.data, settings, now)
    return Step(
        Action.ADD, wanted, values["name"], values=values, pause=wanted.pausing(now) or None
    )


def _changing(job: Job, wanted: Wanted, settings: Settings, now: datetime) -> Step:
    jobs.require_own(job)
    changes = {} if _is_as(job, wanted) else _changes(job, wanted, settings, now)
    pause = _pausing(job, wanted, now)
    if not changes and pause is None:
        return Step(Action.KEEP, wanted, job.name, job.version)
    return Step(
        Action.CHANGE,
        wanted,
        job.name,
        job.version,
        changes=changes,
        pause=pause,
        differences=tuple(_differences(job, wanted, changes, pause, settings)),
    )


def _is_as(job: Job, wanted: Wanted) -> bool:
    """Say whether a job stands in the file exactly as an export would write it.

    This needs no task, so that even a broken job is found to be as it was.
    """
    written = job_document(job)
    return {name: written[name] for name in FIELDS if name in written} == wanted.data


def _changes(job: Job, wanted: Wanted, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the fields in which a job is not as wanted; raises `Invalid` for what cannot be."""
    given, errors = wanted.data, []
    try:
        same = _same_trigger(job, given.get("trigger"), settings)
    except Invalid as error:
        same = True
        errors += error.errors
    try:
        values = check_new(given | {"trigger": _ALWAYS}, settings, now, like=job)
    except Invalid as error:
        raise Invalid(errors + error.errors) from None
    changes = {
        name: values[name]
        for name in FIELDS
        if name not in {"id", "trigger"}
        and (name in given or not wanted.partial)
        and values[name] != getattr(job, name)
    }
    if "parameters" in changes:  # as they were given, which is what `change_job` takes
        changes["parameters"] = {
            name: given["parameters"][name] if is_sealed(value) else value
            for name, value in changes["parameters"].items()
        }
    if not same:
        changes["trigger"] = given["trigger"]
        check_change(job, {"trigger": given["trigger"]}, settings, now)
    if errors:
        raise Invalid(errors)
    return changes


def _same_trigger(job: Job, given: Any, settings: Settings) -> bool:
    """Say whether a job has the trigger given, however it was written and its zone was implied."""
    if not isinstance(given, dict):
        raise Invalid([FieldError("trigger", "Choose a trigger.")])
    schedule = triggers.load(triggers.unanchored(given), timezone=settings.timezone)
    return bool(
        portable_trigger(schedule.data, settings.timezone)
        == portable_trigger(job.trigger, job.timezone)
    )


def _pausing(job: Job, wanted: Wanted, now: datetime) -> bool | None:
    """Say what is to be done; pausing a paused job moves the end of its pause."""
    pause = wanted.pausing(now)
    other_end = bool(pause) and wanted.resume_at not in {None, job.resume_at}
    return pause if other_end or pause is not (job.paused_at is not None) else None


def _differences(
    job: Job,
    wanted: Wanted,
    changes: dict[str, Any],
    pause: bool | None,  # noqa: FBT001 -- as in the step
    settings: Settings,
) -> Iterator[Difference]:
    """Tell each change, parameters one by one and triggers as they stand in files."""
    for name, after in changes.items():
        before = getattr(job, name)
        if name == "trigger":
            schedule = triggers.load(triggers.unanchored(after), timezone=settings.timezone)
            yield Difference(
                name,
                portable_trigger(before, job.timezone),
                portable_trigger(schedule.data, settings.timezone),
            )
        elif name == "parameters":
            before = shown_parameters(job.task, before)
            shown = shown_parameters(wanted.data["task"], after)
            for key in sorted(before.keys() | shown.keys()):
                new = shown.get(key) if shown.get(key) == after.get(key) else ANOTHER
                if (key in before, before.get(key)) != (key in shown, new):
                    yield Difference(f"{name}.{key}", before.get(key), new)
        else:
            yield Difference(name, before, after)
    if pause is None:
        return
    if pause is not (job.paused_at is not None):
        yield Difference("paused", not pause, pause)
        if wanted.paused_reason:
            yield Difference("paused_reason", job.paused_reason, wanted.paused_reason)
    if pause and wanted.resume_at != job.resume_at:
        yield Difference("resume_at", job.resume_at, wanted.resume_at)


def _name_in(wanted: Wanted) -> str:
    return str(wanted.data.get("name") or wanted.data["id"])
