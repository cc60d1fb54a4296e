"""The page Alerts: rules, what they have told of, and what has been sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, request, url_for

from dashboard.alerting.wording import sentence_of
from dashboard.errors import Conflict, FieldError, Invalid, by_field
from dashboard.history.alertlog import read_log
from dashboard.history.problems import read_problems
from dashboard.services import alerts
from dashboard.storage.models import LARGEST_ID, AlertRule, Role
from dashboard.web.access import current_actor, may, role
from dashboard.web.alertforms import (
    KINDS,
    SCOPES,
    Texts,
    carried,
    conditions,
    drafted,
    field_of,
    has_names,
    new_texts,
    posted_texts,
    rule_data,
    rule_texts,
)
from dashboard.web.rendering import done, live_etag, not_modified, render
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.vault import Vault

blueprint = Blueprint("alerts", __name__)

STATES = {"claimed": "waiting", "unknown": "in doubt"}
"""What the states of deliveries are called, where the page has better words."""


@blueprint.get("/alerts")
@role(Role.VIEWER)
def index() -> Response:
    """Show the page, or its live part; `?before=` leads to older messages."""
    now = datetime.now(UTC)
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before <= LARGEST_ID:
        before = None
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        rules = alerts.list_rules(session)
        log = read_log(session, before=before)
        silenced = read_problems(session, now).silenced
    vault = _vault()
    return render(
        "alerts/index.html",
        partial="alerts/_live.html",
        etag=etag,
        rules=[_row(rule, log.problems, vault) for rule in rules],
        problems=log.problems,
        names={rule.id: rule.name for rule in rules},
        deliveries=log.deliveries,
        silenced=silenced,
        states=STATES,
        newest=before is None,
        older=log.older and url_for("dashboard.alerts.index", before=log.older, _anchor="log"),
    )


def _row(rule: AlertRule, problems: list[Any], vault: Vault) -> dict[str, Any]:
    """Return what the page shows of a rule; channels only to admins."""
    return {
        "id": rule.id,
        "name": rule.name,
        "sentence": sentence_of(rule),
        "enabled": rule.enabled,
        "number": len(rule.channels),
        "channels": [
            {"shown": channel["shown"], "reads": vault.reads(channel["sealed"])}
            for channel in rule.channels
            if may("admin")
        ],
        "open": sum(problem.rule_id == rule.id for problem in problems),
    }


@blueprint.get("/alerts/new")
@role(Role.ADMIN)
def new() -> Response:
    """Show the form of a new rule."""
    return _form(new_texts(), None)


@blueprint.post("/alerts/new")
@role(Role.ADMIN)
def create() -> AnyResponse:
    """Add the rule, or show the form again with what is wrong."""
    texts = posted_texts(request.form)
    try:
        with dashboard_state().change() as session:
            rule = alerts.create_rule(
                session, rule_data(texts), vault=_vault(), actor=current_actor()
            )
    except Invalid as error:
        return _form(texts, None, error.errors, error.status)
    message = f"“{rule.name}” is in force. Send a test to see that it arrives."
    return done(url_for("dashboard.alerts.index"), message, leave=True)


@blueprint.get("/alerts/<int:rule_id>/edit")
@role(Role.ADMIN)
def edit(rule_id: int) -> Response:
    """Show the form of a rule; channels as they may be seen, which keeps them."""
    rule = _rule(rule_id)
    return _form(rule_texts(rule), rule)


@blueprint.post("/alerts/<int:rule_id>/edit")
@role(Role.ADMIN)
def change(rule_id: int) -> AnyResponse:
    """Save the form, or show it again with what is wrong."""
    texts = posted_texts(request.form)
    version = request.form.get("version", 0, type=int)
    try:
        with dashboard_state().change() as session:
            rule = alerts.change_rule(
                session,
                rule_id,
                rule_data(texts),
                version=version,
                vault=_vault(),
                actor=current_actor(),
            )
    except Invalid as error:
        return _form(texts, _rule(rule_id), error.errors, error.status)
    except Conflict as error:
        present = [FieldError("", f"{error} Save again to put this over it.")]
        return _form(texts, _rule(rule_id), present, error.status)
    return done(url_for("dashboard.alerts.index"), f"Saved “{rule.name}”.", leave=True)


@blueprint.post("/alerts/fields")
@blueprint.post("/alerts/<int:rule_id>/fields")
@role(Role.ADMIN)
def fields(rule_id: int | None = None) -> Response:
    """Show the form as it is filled in, with the fields that the chosen kind has."""
    return _form(posted_texts(request.form), None if rule_id is None else _rule(rule_id))


@blueprint.post("/alerts/summary")
@blueprint.post("/alerts/<int:rule_id>/summary")
@role(Role.ADMIN)
def summary(rule_id: int | None = None) -> Response:
    """Say what the rule in the form would do."""
    known = None if rule_id is None else _rule(rule_id)
    text = _summary(posted_texts(request.form), known)
    return render("alerts/_summary.html", summary=text)


@blueprint.post("/alerts/<int:rule_id>/test")
@role(Role.ADMIN)
def test(rule_id: int) -> AnyResponse:
    """Send a test to every channel of a rule."""
    state = dashboard_state()
    with state.change() as session:
        alerts.test_rule(
            session, rule_id, actor=current_actor(), public_url=state.settings.public_url
        )
    message = "A test is on its way; see below how it arrives."
    return done(url_for("dashboard.alerts.index"), message, kind="info")


@blueprint.post("/alerts/<int:rule_id>/remove")
@role(Role.ADMIN)
def remove(rule_id: int) -> AnyResponse:
    """Remove a rule."""
    with dashboard_state().change() as session:
        alerts.remove_rule(session, rule_id, actor=current_actor())
    return done(url_for("dashboard.alerts.index"), "The rule is removed.")


@blueprint.post("/alerts/deliveries/<int:delivery_id>/retry")
@role(Role.ADMIN)
def retry(delivery_id: int) -> AnyResponse:
    """Try a message again that was given up or is in doubt."""
    with dashboard_state().change() as session:
        alerts.retry_delivery(session, delivery_id, actor=current_actor())
    return done(url_for("dashboard.alerts.index"), "It is tried again.", kind="info")


def _vault() -> Vault:
    return dashboard_state().settings.vault


def _rule(rule_id: int) -> AlertRule:
    with dashboard_state().database.read() as session:
        return alerts.get_rule(session, rule_id)


def _form(
    texts: Texts,
    rule: AlertRule | None,
    errors: Iterable[FieldError] = (),
    status: int = 200,
) -> Response:
    response = render(
        "alerts/form.html",
        partial="alerts/_form.html",
        texts=texts,
        rule=rule,
        errors=by_field(field_of(error, texts) for error in errors),
        kinds=KINDS,
        scopes=SCOPES,
        conditions=conditions(texts),
        carried=carried(texts),
        has_names=has_names(texts),
        summary=_summary(texts, rule),
    )
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"  # what was typed may hold secrets
    return response


def _summary(texts: Texts, rule: AlertRule | None) -> str | None:
    """Return what the rule would do in words; None while it is not complete."""
    try:
        return sentence_of(drafted(texts, rule, _vault()))
    except Invalid:
        return None
