"""What a person sees when something was refused or went wrong: a page, or a toast in their page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from flask import Response, make_response, redirect, request, url_for
from werkzeug.exceptions import HTTPException, InternalServerError

from dashboard.errors import DashboardError, Invalid, TooManyAttempts
from dashboard.storage.db import AWAY
from dashboard.web.access import (
    API_PATH,
    CSRF_KEY,
    FormExpired,
    SignInNeeded,
    current_user,
    home,
    request_id,
)
from dashboard.web.api import problems
from dashboard.web.frontdoor import WrongHost
from dashboard.web.rendering import draw, here, page_before, toast, wants_partial
from dashboard.web.signin import sign_in_form
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from flask import Blueprint, Flask
    from werkzeug.wrappers import Response as AnyResponse

_log = logging.getLogger(__name__)

SENTENCES = {
    400: "The server could not make sense of this request.",
    403: "You may not do this.",
    404: "There is no page at this address. It may have moved, or what it showed was removed.",
    405: "This address does not answer that way. Pages are opened; actions are buttons.",
    413: "This is more than the server accepts in one request.",
    415: "The server does not understand this kind of content.",
    429: "Too many requests. Wait a moment and try again.",
}


def register(blueprint: Blueprint) -> None:
    """Let the blueprint answer for what its views raise."""
    blueprint.register_error_handler(DashboardError, refused)
    blueprint.register_error_handler(SignInNeeded, sign_in_needed)
    blueprint.register_error_handler(FormExpired, form_expired)
    blueprint.register_error_handler(HTTPException, http_error)
    blueprint.register_error_handler(InternalServerError, server_error)
    for kind in AWAY:
        blueprint.register_error_handler(kind, database_away)


def register_not_routed(app: Flask) -> None:
    """Answer for addresses that no route of the app has; only where the app is all ours."""
    app.register_error_handler(HTTPException, not_routed)
    app.register_error_handler(InternalServerError, server_error)


def not_routed(error: HTTPException) -> AnyResponse:
    """Answer what no route takes (a number too long, a method nobody knows) as its kind wants."""
    if request.path.startswith(f"{API_PATH}/"):
        return problems.http_error(error)
    return http_error(error)


def refused(error: DashboardError) -> Response:
    """Show a refusal in its own words."""
    messages = (
        [complaint.message for complaint in error.errors]
        if isinstance(error, Invalid)
        else [str(error) or error.title]
    )
    response = problem(error.status, error.title, messages)
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def http_error(error: HTTPException) -> AnyResponse:
    """Show what Werkzeug raises; redirects pass as they are."""
    if error.code is None or error.code < 400:  # noqa: PLR2004 -- below are no errors
        return error.get_response()
    sentence = SENTENCES.get(error.code)
    if sentence is None or isinstance(error, WrongHost):
        sentence = error.description or error.name
    response = problem(error.code, error.name, [sentence])
    for name, value in error.get_headers():
        if name not in {"Content-Type", "Content-Length"}:
            response.headers[name] = value  # Allow, Retry-After
    return response


def server_error(error: InternalServerError) -> Response:
    """Admit a fault of ours. Flask has logged it with its traceback; the page shows none of it."""
    del error
    sentence = (
        "This is a fault of the dashboard, not of yours. The server's log has the details,"
        f" marked {request_id()}."
    )
    return problem(500, "Something went wrong", [sentence])


def database_away(error: Exception) -> Response:
    """Say that the database does not answer; a page that updates itself just tries again."""
    _log.warning("the database cannot be used: %s", getattr(error, "orig", None) or error)
    title, sentence = "The database does not answer", problems.DATABASE_AWAY
    if wants_partial() and request.method == "GET":
        response = Response(status=503)
    else:
        response = problem(503, title, [sentence])
    response.headers["Retry-After"] = str(problems.RETRY_AFTER)
    return response


def sign_in_needed(error: SignInNeeded) -> AnyResponse:
    """Send people to the sign-in page, and back here afterwards.

    A page that only updates itself, or whose form holds what somebody typed, is left as it is.
    """
    del error
    if wants_partial():
        return toast_answer(401, "info", "You are signed out. Sign in again to go on.")
    wanted = here() if request.method == "GET" else page_before()
    state = dashboard_state()
    if state.user is not None:
        if state.sign_in_url is None:
            sentence = "Sign in to the application that this dashboard is part of, then come back."
            return problem(401, "Sign in first", [sentence])
        mark = "&" if "?" in state.sign_in_url else "?"
        query = urlencode({"next": wanted or home()})
        return redirect(f"{state.sign_in_url}{mark}{query}", 303)
    return redirect(url_for("dashboard.signin.login", next=wanted), 303)


def form_expired(error: FormExpired) -> Response:
    """Say that a form was too old, keeping what it holds.

    In place nothing on the page is touched and the page gets a new token. Otherwise, if the
    browser vouches that the form was on a page of ours, its content is offered to be sent again.
    """
    del error
    if wants_partial():
        return toast_answer(
            400, "info", "This page was open for too long. Please do that once more.", token=True
        )
    if request.endpoint == "dashboard.signin.check" and dashboard_state().user is None:
        return sign_in_form(
            name=request.form.get("name", ""),
            problem="This page was open for too long. Please sign in once more.",
            status=400,
        )
    own = request.headers.get("Sec-Fetch-Site") == "same-origin" and current_user() is not None
    fields = [
        (name, value)
        for name, value in (request.form.items(multi=True) if own else ())
        if name != CSRF_KEY and "password" not in name
    ]
    text = draw("expired.html", url=here(), again=own, fields=fields)
    return make_response(text, 400)


def problem(status: int, title: str, messages: list[str]) -> Response:
    """Answer with an error page, or with toasts to a page that stays as it is."""
    if wants_partial():
        return toast_answer(status, "bad", *messages)
    again = here() if status >= 500 and request.method == "GET" else None  # noqa: PLR2004 -- our fault
    text = draw("error.html", status=status, title=title, messages=messages, again=again)
    return make_response(text, status)


def toast_answer(status: int, kind: str, *messages: str, **context: object) -> Response:
    """Answer htmx with toasts alone: nothing else on the page changes."""
    for message in messages:
        toast(message, kind)
    text = draw("_toast_partials.html", **{"token": False, **context})
    return make_response(text, status, {"HX-Reswap": "none"})
