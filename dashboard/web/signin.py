"""Signing in and out, and the choice of light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, request, url_for

from dashboard.errors import NotAllowed, TooManyAttempts
from dashboard.services import accounts
from dashboard.services.accounts import THEMES
from dashboard.services.sessions import REMEMBERED
from dashboard.services.signin import authenticate
from dashboard.web.access import (
    SignInNeeded,
    current_actor,
    current_user,
    forget,
    home,
    public,
    request_id,
    sign_in,
)
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
    _only_here()
    return sign_in_form()


@blueprint.post("/login")
@public
def check() -> AnyResponse:
    """Sign in, or show the form again with the reason."""
    _only_here()
    name = request.form.get("name", "").strip()
    password = request.form.get("password", "")
    try:
        user = authenticate(
            dashboard_state().database,
            name,
            password,
            address=request.remote_addr,
            request_id=request_id(),
        )
    except NotAllowed as error:
        return sign_in_form(name=name, problem=str(error), status=401)
    except TooManyAttempts as error:
        form = sign_in_form(name=name, problem=str(error), status=429)
        form.headers["Retry-After"] = str(error.retry_after)
        return form
    sign_in(user, remember="remember" in request.form)
    response = redirect(_wanted(), 303)
    keep_theme(response, user.theme)
    return response


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
    """Keep the choice of light, dark or automatic: in a cookie, and with who is signed in."""
    choice = request.form.get("theme", "auto")
    choice = choice if choice in THEMES else "auto"
    user = current_user()
    if user is not None and user.theme != choice:
        with dashboard_state().change() as session:
            accounts.set_preferences(session, user.id, theme=choice, actor=current_actor())
    response = redirect(page_before() or home(), 303)
    keep_theme(response, choice)
    return response


def keep_theme(response: AnyResponse, choice: str) -> None:
    """Let the browser remember a theme, for the pages before signing in."""
    kept: dict[str, Any] = {"path": home(), "samesite": "Lax", "secure": request.is_secure}
    if choice != "auto":
        response.set_cookie("theme", choice, max_age=YEAR, **kept)
    elif "theme" in request.cookies:
        response.delete_cookie("theme", **kept)


def sign_in_form(*, name: str = "", problem: str = "", status: int = 200) -> Response:
    """Return the form, going on to `next` of the request afterwards."""
    response = render(
        "signin/login.html",
        name=name,
        problem=problem,
        next=_wanted(),
        remember="remember" in request.form,
        days=REMEMBERED.days,
    )
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def _only_here() -> None:
    """Send people away who sign in to the host app."""
    if dashboard_state().user is not None:
        raise SignInNeeded


def _wanted() -> str:
    """Return the page to go on to; only our own site's, whatever `next` says."""
    wanted = request.values.get("next", "")
    return wanted if is_local(wanted) else url_for("dashboard.now.show")
