"""Acting on many jobs: a page that says exactly what will be done, and then what was done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Blueprint, redirect, request, url_for

from dashboard.errors import Invalid
from dashboard.services import bulk
from dashboard.services.bulk import BulkAction
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, has_role, role
from dashboard.web.rendering import render
from dashboard.web.state import dashboard_state
from dashboard.web.times import CHOICES, read_until
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.storage.models import Bulk

blueprint = Blueprint("bulk", __name__)

PATIENCE = 25
"""Seconds that one request works; what is left then waits for the button *Go on*."""

BREATH = 0.005
"""Seconds between two transactions: the scheduler waits for the same lock, and locks are unfair."""

SHOWN = 50
"""Targets that the page names."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What an action is called on buttons, in titles and in what was done; and what it brings."""

    button: str
    done: str
    icon: str
    means: str


WORDINGS = {
    BulkAction.RUN: Wording(
        "Run now", "asked to run", "bolt", "One run of each is queued. No schedule is changed."
    ),
    BulkAction.PAUSE: Wording(
        "Pause",
        "paused",
        "player-pause",
        "They do not fire until somebody resumes them, or until the time you choose. Runs that go"
        " on now are not stopped, and fire times that pass meanwhile are not made up for.",
    ),
    BulkAction.RESUME: Wording(
        "Resume",
        "resumed",
        "player-play",
        "They fire from their next fire times on; those that passed are not made up for.",
    ),
    BulkAction.TAG: Wording("Add tag", "given the tag", "tag", "Their other tags stay."),
    BulkAction.UNTAG: Wording("Remove tag", "freed of the tag", "tag", "Their other tags stay."),
    BulkAction.REMOVE: Wording(
        "Remove",
        "removed",
        "trash",
        "Their schedules, parameters and notes are removed; what is queued of them is cancelled."
        " Their runs stay, and for 30 days they can be brought back.",
    ),
    BulkAction.RESTORE: Wording(
        "Bring back",
        "brought back",
        "arrow-back-up",
        "They come back as they were, and fire next as their triggers say from now on.",
    ),
}


def offered(*, removed: bool = False) -> list[tuple[str, Wording]]:
    """Return what the person may do to many jobs, or to removed ones, as their list offers it."""
    fitting = [action for action in WORDINGS if (action is BulkAction.RESTORE) is removed]
    return [(action.value, WORDINGS[action]) for action in fitting if has_role(action.role)]


@blueprint.post("/jobs/bulk")
@role(Role.OPERATOR, for_each=True)
def choose() -> AnyResponse:
    """Take the choice of jobs from the list and lead to what would be done."""
    search = request.form.get("q", "") if "all" in request.form else None
    with dashboard_state().change() as session:
        planned = bulk.prepare(
            session,
            _action(),
            ids=list(dict.fromkeys(request.form.getlist("job"))),
            search=search,
            actor=current_actor(),
        )
    return redirect(url_for("dashboard.bulk.show", bulk_id=planned.id), 303)


@blueprint.get("/jobs/bulk/<int:bulk_id>")
@role(Role.OPERATOR, for_each=True)
def show(bulk_id: int) -> Response:
    """Show what would be done, or what was done."""
    return _show(bulk_id)


@blueprint.post("/jobs/bulk/<int:bulk_id>")
@role(Role.OPERATOR, for_each=True)
def act(bulk_id: int) -> AnyResponse:
    """Do what was previewed, or go on with it."""
    form = request.form
    try:
        with dashboard_state().change() as session:
            bulk.start(
                session,
                bulk_id,
                reason=form.get("reason"),
                until=read_until(form, display_zone(), datetime.now(UTC)),
                tag=form.get("tag"),
                actor=current_actor(),
            )
    except Invalid as error:
        return _show(bulk_id, error)
    return _work(bulk_id)


@blueprint.post("/jobs/bulk/<int:bulk_id>/undo")
@role(Role.ADMIN, for_each=True)
def undo(bulk_id: int) -> AnyResponse:
    """Bring back what was removed, all of it at once."""
    with dashboard_state().change() as session:
        undoing = bulk.undo(session, bulk_id, actor=current_actor()).id
    return _work(undoing)


def _work(bulk_id: int) -> AnyResponse:
    """Act on one target after the other, for as long as one request may, and show how it went."""
    state, actor = dashboard_state(), current_actor()
    until = time.monotonic() + PATIENCE
    more = True
    while more and time.monotonic() < until:
        with state.change() as session:
            more = bulk.go_on(session, bulk_id, actor=actor, settings=state.settings)
        time.sleep(BREATH)
    return redirect(url_for("dashboard.bulk.show", bulk_id=bulk_id), 303)


def _show(bulk_id: int, error: Invalid | None = None) -> Response:
    with dashboard_state().database.read() as session:
        planned = bulk.get(session, bulk_id)
        names = bulk.names_of(session, planned.targets[:SHOWN])
    response = render(
        "bulk/page.html",
        bulk=planned,
        wording=WORDINGS[BulkAction(planned.action)],
        names=names,
        left_out=bulk.left_out(planned),
        mine=planned.created_by == current_actor().name,
        back=_back(planned),
        errors={each.field: [each.message] for each in error.errors} if error else {},
        typed=request.form,
        choices=CHOICES,
    )
    if error:
        response.status_code = error.status
    return response


def _back(planned: Bulk) -> str:
    return url_for("dashboard.jobs.index", q=planned.search or None)


def _action() -> BulkAction:
    try:
        return BulkAction(request.form.get("action", ""))
    except ValueError:
        known = ", ".join(BulkAction)
        raise Invalid.one("action", f"Choose what to do. There are: {known}.") from None
