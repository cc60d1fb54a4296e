"""One job: what it is, how it is doing, when it fires next, and what people do with it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request, url_for

from dashboard.errors import Invalid, JobNotFound
from dashboard.history import queries
from dashboard.history.durations import DAYS, read_spread
from dashboard.history.problems import problems_of_job
from dashboard.history.removed import UNDO_DAYS, last_removal
from dashboard.history.run_list import RunFilter, list_runs
from dashboard.history.silences import silence_of
from dashboard.history.verdicts import job_health
from dashboard.scheduling import triggers
from dashboard.scheduling.firetimes import Effort
from dashboard.scheduling.wallclock import TICK, zone_named
from dashboard.services import jobs
from dashboard.services.restoring import restore_job
from dashboard.storage.models import ACTIVE, Role
from dashboard.tasks import default_parameters, shown_parameters
from dashboard.web.access import current_actor, role
from dashboard.web.audit import JobChange
from dashboard.web.charts import duration_chart
from dashboard.web.filters import absolute
from dashboard.web.questions import answer, question
from dashboard.web.rendering import done, live_etag, not_modified, render, wants_partial
from dashboard.web.run_form import given_parameters, may_choose_parameters, run_form
from dashboard.web.runs import table_rows
from dashboard.web.state import dashboard_state
from dashboard.web.strips import success_rate
from dashboard.web.times import CHOICES, read_until
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Response
    from sqlalchemy.orm import Session
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.scheduling.triggers import Schedule
    from dashboard.storage.models import Job, Run

blueprint = Blueprint("job", __name__)

CHART_RUNS = 100
"""Runs in the chart of durations, and the most that the job's own page lists."""

FEW_RUNS = 20
"""Runs listed at first."""

FIRE_TIMES = 10

CHANGES = 5
"""Changes of the job that its page tells; the audit log has all."""

_URL = re.compile(r"https?://[^\s<>\"'“”]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of somebody's notes; `url` where it is an address to follow."""

    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class FireTime:
    """A moment at which a job fires, and how the clocks in its trigger's zone show it."""

    moment: datetime
    local: str


@blueprint.get("/jobs/<job_id>")
@role(Role.VIEWER)
def show(job_id: str) -> Response:
    """Show one job."""
    now = datetime.now(UTC)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if unchanged := not_modified(etag):
            return unchanged
        try:
            detail = queries.get_job(session, job_id)
        except JobNotFound as error:
            return _gone(session, job_id, error, etag)
        found = list_runs(session, RunFilter(job_id=job_id), limit=CHART_RUNS)
        problems = problems_of_job(session, job_id, now)
        spread = read_spread(session, job_id, now)
        changes = queries.list_changes(session, job_id, limit=CHANGES)
    health = detail.health
    many = request.args.get("runs") == "all"
    return render(
        "job/page.html",
        partial="job/_job.html",
        etag=etag,
        **_about(detail.job),
        **_standing(detail, now),
        problems=problems,
        chart=duration_chart(
            found.runs,
            usual=health.usual_duration if health else None,
            long=health.long_duration if health else None,
        ),
        spread=spread,
        days=DAYS,
        rows=table_rows(found.runs if many else found.runs[:FEW_RUNS], with_job=False),
        shown_all=many or len(found.runs) <= FEW_RUNS,
        older=found.older,
        changes=[JobChange.of(entry) for entry in changes],
        active=detail.running or any(run.state in ACTIVE for run in found.runs),
    )


@blueprint.get("/jobs/<job_id>/<any(run, pause):action>")
@role(Role.OPERATOR)
def ask(job_id: str, action: str) -> Response:
    """Ask on a page of its own what a dialog asks where JavaScript works."""
    return _question(job_id, action)


@blueprint.get("/jobs/<job_id>/remove")
@role(Role.ADMIN)
def ask_remove(job_id: str) -> Response:
    """Ask on a page of its own whether to remove a job."""
    return _question(job_id, "remove")


@blueprint.post("/jobs/<job_id>/run")
@role(Role.OPERATOR)
def run(job_id: str) -> AnyResponse:
    """Run a job at once, for this once with other parameters if some are sent."""
    state = dashboard_state()
    with state.database.read() as session:
        job = jobs.get_job(session, job_id)
    try:
        parameters = given_parameters(job)
        with state.change() as session:
            started = jobs.run_now(
                session,
                job_id,
                parameters=parameters,
                actor=current_actor(),
                vault=state.settings.vault,
            )
    except Invalid as error:
        return _question(job_id, "run", error)
    others = "" if parameters is None else " with other parameters"
    message = f"Run {started.id} of “{started.job_name}” is queued{others}."
    return _done(job_id, f"{message} The schedule is unchanged.")


@blueprint.post("/jobs/<job_id>/pause")
@role(Role.OPERATOR)
def pause(job_id: str) -> AnyResponse:
    """Keep a job from firing."""
    try:
        until = read_until(request.form, display_zone(), datetime.now(UTC))
        with dashboard_state().change() as session:
            reason = request.form.get("reason")
            job = jobs.pause_job(session, job_id, reason=reason, until=until, actor=current_actor())
    except Invalid as error:
        return _question(job_id, "pause", error)
    message = f"“{job.name}” is paused: it does not fire until somebody resumes it."
    if job.resume_at is not None:
        message = f"“{job.name}” is paused until {absolute(job.resume_at)}."
    return _done(job_id, message)


@blueprint.post("/jobs/<job_id>/resume")
@role(Role.OPERATOR)
def resume(job_id: str) -> AnyResponse:
    """Let a paused job fire again."""
    with dashboard_state().change() as session:
        job = jobs.resume_job(session, job_id, actor=current_actor())
        message = f"“{job.name}” is resumed."
        if job.next_run_time is None:
            message = f"“{job.name}” is finished. {job.finished_reason}"
    return _done(job_id, message)


@blueprint.post("/jobs/<job_id>/remove")
@role(Role.ADMIN)
def remove(job_id: str) -> AnyResponse:
    """Remove a job; its runs stay, and it can be brought back for a while."""
    with dashboard_state().change() as session:
        name = jobs.get_job(session, job_id).name
        jobs.remove_job(session, job_id, actor=current_actor())
    return done(
        url_for("dashboard.jobs.index"),
        f"“{name}” is removed. Its runs stay.",
        leave=True,
        undo=url_for("dashboard.job.restore", job_id=job_id),
    )


@blueprint.post("/jobs/<job_id>/restore")
@role(Role.ADMIN, for_each=True)
def restore(job_id: str) -> AnyResponse:
    """Bring back a job that was removed; `entry` names an audit entry that is not the last."""
    entry_id = request.form.get("entry", type=int)
    state = dashboard_state()
    with state.change() as session:
        job = restore_job(
            session, job_id, entry_id=entry_id, actor=current_actor(), settings=state.settings
        )
        message = f"“{job.name}” is back as it was."
    return done(url_for("dashboard.job.show", job_id=job_id), message)


def _done(job_id: str, message: str) -> AnyResponse:
    return answer(url_for("dashboard.job.show", job_id=job_id), message)


def _question(job_id: str, action: str, error: Invalid | None = None) -> Response:
    with dashboard_state().database.read() as session:
        job = jobs.get_job(session, job_id)
    form = None
    if action == "run" and not wants_partial():
        form = run_form(job, error.errors if error else ())
    return question(
        "job",
        error,
        action=action,
        job=job,
        form=form,
        takes_parameters=may_choose_parameters(job),
        choices=CHOICES,
    )


def _gone(session: Session, job_id: str, error: JobNotFound, etag: str) -> Response:
    """Say that there is no such job, and where its runs are, if there are any.

    A live page is told so in place: its poll did not fail.
    """
    response = render(
        "job/gone.html",
        partial="job/_gone.html",
        etag=etag,
        job_id=job_id,
        known=queries.has_runs(session, job_id),
        removal=last_removal(session, job_id),
        days=UNDO_DAYS,
        message=str(error),
    )
    if not wants_partial():
        response.status_code = error.status
    return response


def _about(job: Job) -> dict[str, Any]:
    """Return what the page says of a job."""
    schedule = _schedule(job)
    return {
        "job": job,
        "may_go_on": _may_go_on(job, schedule, datetime.now(UTC)),
        "schedule": schedule,
        "fire_times": _fire_times(job, schedule, datetime.now(UTC)),
        "trigger_json": json.dumps(job.trigger, ensure_ascii=False),
        "parameters": show_parameters(job),
        "defaults": default_parameters(job.task, job.parameters),
        "notes": list(split_notes(job.notes)),
    }


def _standing(detail: queries.JobDetail, now: datetime) -> dict[str, Any]:
    """Return how a job is doing."""
    health = detail.health
    return {
        "health": health,
        "state": jobs.job_state(detail.job, running=detail.running),
        "health_word": job_health(detail.job, health, now),
        "silence": silence_of(health, now),
        "rate": success_rate(health.recent) if health else None,
    }


def _may_go_on(job: Job, schedule: Schedule | None, now: datetime) -> bool:
    """Say whether a finished job would fire again if somebody resumed it."""
    if schedule is None or job.broken_reason is not None or job.paused_at is not None:
        return False
    following = schedule.at_or_after(now) if job.next_run_time is None else None
    return following is not None and (job.end_at is None or following <= job.end_at)


def _schedule(job: Job) -> Schedule | None:
    try:
        return triggers.kept(job.trigger, timezone=job.timezone)
    except Invalid:
        return None  # the job is broken, and says so


def _fire_times(job: Job, schedule: Schedule | None, now: datetime) -> list[FireTime]:
    """Return the next fire times; of a paused job those from its resuming, or from now, on."""
    if schedule is None or job.broken_reason is not None:
        return []
    moments: list[datetime] = []
    if job.next_run_time is not None:
        moments.append(job.next_run_time)
        now = job.next_run_time + TICK
    elif job.paused_at is None:
        return []
    elif job.resume_at is not None:
        now = max(now, job.resume_at)
    # A trigger that hardly ever fires is searched for only so long.
    moments += islice(schedule.trigger.upcoming(now, Effort()), FIRE_TIMES - len(moments))
    zone = zone_named(schedule.timezone)
    return [
        FireTime(moment, f"{moment.astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}") for moment in moments
    ]


def show_parameters(row: Job | Run) -> list[tuple[str, str]]:
    """Return the parameters of a job or a run as texts: strings as they are, all else as JSON."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in shown_parameters(row.task, row.parameters).items()
    ]


def split_notes(notes: str) -> Iterator[Piece]:
    """Cut notes into text and web addresses; a full stop after an address is not part of it."""
    end = 0
    for found in _URL.finditer(notes):
        url = found[0].rstrip(".,;:!?)]}*")
        if found.start() > end:
            yield Piece(notes[end : found.start()])
        yield Piece(url, url)
        end = found.start() + len(url)
    if end < len(notes):
        yield Piece(notes[end:])
