"""Signing in and out, and the choice of light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, redirect, request, url_for

from dashboard.errors import NotAllowed, TooManyAttempts
from dashboard.services import accounts
from dashboard.web.access import current_user, forget, public, sign_in
from dashboard.web.rendering import is_local, page_before, render
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

blueprint = Blueprint("signin", __name__)

YEAR = 365 * 24 * 3600


@blueprint.get("/login")
@public
def login() -> AnyResponse:
    """Show the sign-in form; who is signed in already goes straight on."""
    if current_user() is not None:
        return redirect(_wanted(), 303)
    return sign_in_form()


@blueprint.post("/login")
@public
def check() -> AnyResponse:
    """Sign in, or show the form again with the reason."""
    name = request.form.get("name", "").strip()
    password = request.form.get("password", "")
    try:
        user = accounts.authenticate(
            dashboard_state().database, name, password, address=request.remote_addr
        )
    except (NotAllowed, TooManyAttempts) as error:
        status = 429 if isinstance(error, TooManyAttempts) else 401
        return sign_in_form(name=name, problem=str(error), status=status)
    sign_in(user)
    return redirect(_wanted(), 303)


@blueprint.post("/logout")
@public
def logout() -> AnyResponse:
    """Sign out; browsers also drop the pages they keep for the Back button."""
    forget()
    response = redirect(url_for("dashboard.signin.login"), 303)
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@blueprint.post("/theme")
@public
def choose_theme() -> AnyResponse:
    """Keep the choice of light, dark or automatic in a cookie."""
    choice = request.form.get("theme", "auto")
    response = redirect(page_before() or url_for("dashboard.now.show"), 303)
    if choice in {"light", "dark"}:
        response.set_cookie(
            "theme",
            choice,
            max_age=YEAR,
            path=_cookie_path(),
            samesite="Lax",
            secure=request.is_secure,
        )
    else:
        response.delete_cookie("theme", path=_cookie_path())
    return response


def _cookie_path() -> str:
    """Return the path under which all pages lie: `/`, or the prefix in a host app."""
    return url_for("dashboard.now.show")


def sign_in_form(*, name: str = "", problem: str = "", status: int = 200) -> Response:
    """Return the form, going on to `next` of the request afterwards."""
    response = render("signin/login.html", name=name, problem=problem, next=_wanted())
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def _wanted() -> str:
    """Return the page to go on to; only our own site's, whatever `next` says."""
    wanted = request.values.get("next", "")
    return wanted if is_local(wanted) else url_for("dashboard.now.show")
