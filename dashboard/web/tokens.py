"""The keys of programs that use the API: who has one, and how to make and revoke them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Blueprint, request, url_for

from dashboard.errors import Conflict, FieldError, Invalid, by_field
from dashboard.services import tokens
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, role
from dashboard.web.rendering import done, live_etag, not_modified, render
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

blueprint = Blueprint("tokens", __name__)

LIVES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "No end"}
"""The lives of a token that the form offers, by their days."""

USUAL_LIFE = "90"

ROLES = (
    (Role.VIEWER, "viewer: reads"),
    (Role.OPERATOR, "operator: also runs, pauses, resumes, retries"),
    (Role.ADMIN, "admin: everything"),
)


@blueprint.get("/tokens")
@role(Role.ADMIN)
def index() -> Response:
    """Show the page, or its live part."""
    return _page({"role": Role.VIEWER.value, "days": USUAL_LIFE})


@blueprint.post("/tokens")
@role(Role.ADMIN)
def create() -> Response:
    """Make a token and show its key, now and never again; or the form with what is wrong."""
    texts = {name: request.form.get(name, "").strip() for name in ("name", "role", "days", "tags")}
    try:
        with dashboard_state().change() as session:
            _token, key = tokens.add_token(
                session,
                texts["name"],
                _role(texts),
                days=_days(texts),
                tags=re.split(r"[\s,]+", texts["tags"]),
                actor=current_actor(),
            )
    except Invalid as error:
        return _page(texts, errors=error.errors, status=error.status)
    except Conflict as error:
        return _page(texts, errors=[FieldError("name", str(error))], status=error.status)
    response = _page({"role": Role.VIEWER.value, "days": USUAL_LIFE}, made=texts["name"], key=key)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/tokens/<int:token_id>/revoke")
@role(Role.ADMIN)
def revoke(token_id: int) -> AnyResponse:
    """Let a token work no longer."""
    with dashboard_state().change() as session:
        token = tokens.revoke_token(session, token_id, actor=current_actor())
    message = f"“{token.name}” is revoked: its next request is refused."
    return done(url_for("dashboard.tokens.index"), message)


def _page(
    texts: dict[str, str],
    *,
    errors: Iterable[FieldError] = (),
    made: str | None = None,
    key: str | None = None,
    status: int = 200,
) -> Response:
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        unchanged = not_modified(etag) if request.method == "GET" else None
        if unchanged is not None:
            return unchanged
        found = tokens.list_tokens(session)
    response = render(
        "tokens/index.html",
        partial="tokens/_list.html" if request.method == "GET" else None,
        etag=etag,
        tokens=found,
        moment=datetime.now(UTC),
        texts=texts,
        errors=by_field(errors),
        made=made,
        key=key,
        roles=ROLES,
        lives=LIVES,
    )
    response.status_code = status
    return response


def _role(texts: dict[str, str]) -> Role:
    try:
        return Role(texts["role"])
    except ValueError:
        raise Invalid.one("role", f"Choose one of: {', '.join(Role)}.") from None


def _days(texts: dict[str, str]) -> int | None:
    if texts["days"] not in LIVES:
        raise Invalid.one("days", f"Choose one of: {', '.join(LIVES.values())}.")
    return int(texts["days"]) if texts["days"] else None
