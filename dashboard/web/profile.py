"""A person's own page: time zone and colours, the password, and where they are signed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Blueprint, make_response, redirect, request, url_for

from dashboard.errors import Invalid, NotAllowed, TooManyAttempts, by_field
from dashboard.services import accounts, sessions, signin
from dashboard.services.accounts import THEMES
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, current_visit, forget, role
from dashboard.web.agents import browser_of
from dashboard.web.editor import zone_names
from dashboard.web.rendering import done, render
from dashboard.web.signin import keep_theme
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.services.sessions import Visit
    from dashboard.storage.models import SignIn

blueprint = Blueprint("profile", __name__, url_prefix="/profile")

THEME_WORDS = {"light": "Light", "dark": "Dark", "auto": "As the system"}


@dataclass(frozen=True, slots=True)
class Browser:
    """One place in which somebody is signed in."""

    row: SignIn
    name: str
    present: bool


@blueprint.get("")
@role(Role.VIEWER)
def show() -> Response:
    """Show the page."""
    return _page()


@blueprint.post("/preferences")
@role(Role.VIEWER)
def change_preferences() -> AnyResponse:
    """Keep the time zone and the theme."""
    timezone = request.form.get("timezone", "")
    theme = request.form.get("theme", "auto")
    try:
        with dashboard_state().change() as session:
            accounts.set_preferences(
                session, _visit().person.id, timezone=timezone, theme=theme, actor=current_actor()
            )
    except Invalid as error:
        return _page(error, timezone=timezone, theme=theme)
    response = make_response(done(url_for(".show"), "Your preferences are saved."))
    keep_theme(response, theme)
    return response


@blueprint.post("/password")
@role(Role.VIEWER)
def change_password() -> AnyResponse:
    """Change one's own password; whoever stole a session does not know the present one."""
    visit, actor = _visit(), current_actor()
    new = request.form.get("new_password", "")
    try:
        if new != request.form.get("new_password_again", ""):
            raise Invalid.one("new_password_again", "This is not the same. Type both once more.")
        present = request.form.get("present_password", "")
        database = dashboard_state().database
        if not signin.confirm(database, actor.name, present, address=actor.address):
            raise Invalid.one("present_password", "This is not your present password.")
        with dashboard_state().change() as session:
            accounts.set_own_password(
                session, visit.person.id, new, keep=visit.sign_in, actor=actor
            )
    except Invalid as error:
        return _page(error)
    except TooManyAttempts as error:
        response = _page(Invalid.one("present_password", str(error)))
        response.status_code = error.status
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    message = "Your password is changed. Everywhere else you are signed out."
    return done(url_for(".show"), message)


@blueprint.post("/sign-ins/<int:sign_in>/end")
@role(Role.VIEWER)
def end_sign_in(sign_in: int) -> AnyResponse:
    """Sign out one browser."""
    visit = _visit()
    with dashboard_state().change() as session:
        sessions.end_one(session, visit.person.id, sign_in, actor=current_actor())
    if sign_in == visit.sign_in:
        return _signed_out()
    return done(url_for(".show"), "That browser is signed out.")


@blueprint.post("/sign-out-everywhere")
@role(Role.VIEWER)
def sign_out_everywhere() -> AnyResponse:
    """Sign out every browser, this one too."""
    with dashboard_state().change() as session:
        actor = current_actor()
        accounts.end_sessions(session, actor.name, actor=actor)
    return _signed_out()


def _signed_out() -> AnyResponse:
    forget()
    return redirect(url_for("dashboard.signin.login"), 303)


def _visit() -> Visit:
    visit = current_visit()
    if visit is None:
        raise NotAllowed("Nobody is signed in.")
    return visit


def _page(
    problem: Invalid | None = None, *, timezone: str | None = None, theme: str | None = None
) -> Response:
    visit = _visit()
    with dashboard_state().database.read() as session:
        user = accounts.get_user(session, visit.person.id)
        rows = sessions.list_sign_ins(session, user.id)
    response = render(
        "profile/page.html",
        user=user,
        timezone=user.timezone if timezone is None else timezone,
        theme_choice=user.theme if theme is None else theme,
        themes=[(value, THEME_WORDS[value]) for value in THEMES],
        zones=zone_names(),
        browsers=[
            Browser(row, browser_of(row.user_agent), row.id == visit.sign_in) for row in rows
        ],
        errors=by_field(problem.errors if problem else ()),
    )
    if problem is not None:
        response.status_code = problem.status
    return response
