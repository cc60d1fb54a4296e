"""Acknowledging and snoozing a job's trouble, from Now and from the job's page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Blueprint, request, url_for

from dashboard.errors import Invalid
from dashboard.services import jobs, silences
from dashboard.storage.models import Role, Silence
from dashboard.web.access import current_actor, role
from dashboard.web.filters import absolute
from dashboard.web.questions import answer, question
from dashboard.web.rendering import done
from dashboard.web.state import dashboard_state
from dashboard.web.times import CHOICES, read_until
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

blueprint = Blueprint("silences", __name__)


@blueprint.get("/jobs/<job_id>/<any(acknowledge, snooze):action>")
@role(Role.OPERATOR)
def ask(job_id: str, action: str) -> Response:
    """Ask for the reason and the time: in the page's dialog, or on a page of its own."""
    return _question(job_id, action)


@blueprint.post("/jobs/<job_id>/acknowledge")
@role(Role.OPERATOR)
def acknowledge(job_id: str) -> AnyResponse:
    """Note that somebody knows what is wrong with a job."""
    return _silence(job_id, Silence.ACKNOWLEDGED)


@blueprint.post("/jobs/<job_id>/snooze")
@role(Role.OPERATOR)
def snooze(job_id: str) -> AnyResponse:
    """Leave a job alone for a while."""
    return _silence(job_id, Silence.SNOOZED)


@blueprint.post("/jobs/<job_id>/unsilence")
@role(Role.OPERATOR)
def unsilence(job_id: str) -> AnyResponse:
    """Take an acknowledgement or a snooze back."""
    with dashboard_state().change() as session:
        before = silences.end_silence(session, job_id, actor=current_actor())
        name = jobs.get_job(session, job_id).name
    message = f"“{name}” is no longer {before.value}." if before else f"“{name}” was not silenced."
    return done(url_for("dashboard.job.show", job_id=job_id), message)


def _question(job_id: str, action: str, error: Invalid | None = None) -> Response:
    with dashboard_state().database.read() as session:
        job = jobs.get_job(session, job_id)
    return question(
        "silences",
        error,
        job=job,
        action=action,
        choices=CHOICES,
        longest_reason=silences.LONGEST_REASON,
    )


def _silence(job_id: str, kind: Silence) -> AnyResponse:
    acknowledged = kind is Silence.ACKNOWLEDGED
    act = silences.acknowledge if acknowledged else silences.snooze
    reason = request.form.get("reason")
    try:
        until = read_until(request.form, display_zone(), datetime.now(UTC))
        with dashboard_state().change() as session:
            act(session, job_id, reason=reason, until=until, actor=current_actor())
            name = jobs.get_job(session, job_id).name
    except Invalid as error:
        return _question(job_id, "acknowledge" if acknowledged else "snooze", error)
    end = f"until {absolute(until)}" if until else "until it recovers"
    url = url_for("dashboard.job.show", job_id=job_id)
    return answer(url, f"“{name}” is {kind.value} {end}.")
