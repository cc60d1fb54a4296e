"""What a program is told when something was refused or went wrong: `application/problem+json`."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from flask import Response
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, InternalServerError

from dashboard.errors import DashboardError, Invalid, TooManyRequests
from dashboard.storage.db import AWAY
from dashboard.web.access import SignInNeeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Blueprint
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.errors import FieldError

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

DATABASE_AWAY = (
    "It may be restarting, locked by another program, or its disk is full. Nothing was changed."
    " Runs that were going on go on, and what they say is kept until it can be written."
)
RETRY_AFTER = 5
"""Seconds until it is worth asking again."""

SENTENCES = {
    404: "The API has nothing at this address.",
    405: "This address does not answer that method; the header Allow lists those it answers.",
    413: "A request has at most 1,000,000 bytes.",
    415: "The body of a request must be application/json.",
    500: "This is a fault of the dashboard, not of yours. The server's log has the details.",
}


class FieldProblem(BaseModel):
    """What is wrong with one field; `field` is its path, dots between levels."""

    field: str
    message: str


class Problem(BaseModel):
    """Why a request was not done (RFC 9457). Nothing was changed."""

    title: str
    status: int
    detail: str
    errors: list[FieldProblem]


def register(blueprint: Blueprint) -> None:
    """Let the API answer for whatever its views raise."""
    blueprint.register_error_handler(DashboardError, refused)
    blueprint.register_error_handler(SignInNeeded, token_needed)
    blueprint.register_error_handler(HTTPException, http_error)
    blueprint.register_error_handler(InternalServerError, http_error)
    for kind in AWAY:
        blueprint.register_error_handler(kind, database_away)


def refused(error: DashboardError) -> Response:
    """Tell a refusal in its own words."""
    errors = error.errors if isinstance(error, Invalid) else ()
    response = problem(error.status, error.title, str(error) or error.title, errors)
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response


def token_needed(error: SignInNeeded) -> Response:
    """Ask for a token."""
    del error
    detail = (
        "Send the header “Authorization: Bearer TOKEN” with a token that is neither revoked nor"
        " expired. Somebody signed in with a browser may only read."
    )
    response = problem(401, "Token needed", detail)
    response.headers["WWW-Authenticate"] = 'Bearer realm="apscheduler-dashboard"'
    return response


def database_away(error: Exception) -> Response:
    """Tell that the database does not answer."""
    _log.warning("the database cannot be used: %s", getattr(error, "orig", None) or error)
    response = problem(503, "The database does not answer", DATABASE_AWAY)
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def http_error(error: HTTPException) -> AnyResponse:
    """Tell what Werkzeug raises; redirects pass as they are."""
    if error.code is None or error.code < 400:  # noqa: PLR2004 -- below are no errors
        return error.get_response()
    detail = SENTENCES.get(error.code) or error.description or error.name
    response = problem(error.code, error.name, detail)
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Content-Length"}:
            response.headers[name] = value  # Allow, Retry-After
    return response


def problem(status: int, title: str, detail: str, errors: Iterable[FieldError] = ()) -> Response:
    """Answer with a problem."""
    fields = [FieldProblem(field=error.field, message=error.message) for error in errors]
    told = Problem(title=title, status=status, detail=detail, errors=fields)
    return Response(told.model_dump_json(), status, mimetype=MEDIA_TYPE)
