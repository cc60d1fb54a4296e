"""The people who may sign in, for admins: who they are, what they may do, where they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import Blueprint, request, url_for

from dashboard.errors import Conflict, DashboardError, Invalid, by_field
from dashboard.services import accounts, passwords, sessions
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, role
from dashboard.web.agents import browser_of
from dashboard.web.rendering import done, render
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

blueprint = Blueprint("people", __name__, url_prefix="/people")

ROLES = {
    Role.VIEWER: "sees everything, changes nothing",
    Role.OPERATOR: "also runs, pauses, retries and acknowledges, and changes when jobs run",
    Role.ADMIN: "everything: jobs, people, tokens, alerts",
}


@blueprint.get("")
@role(Role.ADMIN)
def index() -> Response:
    """List everybody."""
    query, after = request.args.get("q", ""), request.args.get("after", "")
    with dashboard_state().database.read() as session:
        page = accounts.list_people(session, query=query, after=after)
    older = None
    if page.after is not None:
        older = url_for(".index", q=query or None, after=page.after)
    return render("people/index.html", found=page, query=query, after=after, url_older=older)


@blueprint.get("/new")
@role(Role.ADMIN)
def new() -> Response:
    """Show the form for somebody new."""
    return _form()


@blueprint.post("/new")
@role(Role.ADMIN)
def add() -> AnyResponse:
    """Add somebody; a password that was made up is shown once."""
    name = request.form.get("name", "").strip()
    try:
        password, made_up = _password()
        with dashboard_state().change() as session:
            user = accounts.add_user(
                session, name, password, _role(), tags=_tags(), actor=current_actor()
            )
            number = user.id
    except Conflict as error:
        return _form(Invalid.one("name", str(error)), status=error.status)
    except Invalid as error:
        return _form(error, status=error.status)
    if made_up:
        return _show_once(number, name, password)
    return done(url_for(".show", number=number), f"“{name}” may sign in.", leave=True)


@blueprint.get("/<int:number>")
@role(Role.ADMIN)
def show(number: int) -> Response:
    """Show one person."""
    return _person(number)


@blueprint.post("/<int:number>/role")
@role(Role.ADMIN)
def change_role(number: int) -> AnyResponse:
    """Let somebody do more, or less."""
    try:
        with dashboard_state().change() as session:
            name = accounts.get_user(session, number).name
            wanted = _role()
            tags = _tags()
            accounts.change_role(session, name, wanted, tags=tags, actor=current_actor())
    except (Invalid, Conflict) as error:
        return _person(number, "role", error)
    limit = f" for jobs tagged {' or '.join(tags)}" if tags else ""
    return done(url_for(".show", number=number), f"“{name}” is {wanted}{limit} from now on.")


@blueprint.post("/<int:number>/password")
@role(Role.ADMIN)
def set_password(number: int) -> AnyResponse:
    """Give somebody a new password, typed or made up."""
    try:
        password, made_up = _password()
        with dashboard_state().change() as session:
            name = accounts.get_user(session, number).name
            accounts.set_password(session, name, password, actor=current_actor())
    except Invalid as error:
        return _person(number, "password", error)
    if made_up:
        return _show_once(number, name, password)
    message = f"“{name}” has a new password and is signed out everywhere."
    return done(url_for(".show", number=number), message)


@blueprint.post("/<int:number>/<any(disable, enable):wish>")
@role(Role.ADMIN)
def set_active(number: int, wish: str) -> AnyResponse:
    """Keep somebody out at once, or let them in again."""
    with dashboard_state().change() as session:
        name = accounts.get_user(session, number).name
        if wish == "disable":
            accounts.disable_user(session, name, actor=current_actor())
            message = f"“{name}” is signed out and can no longer sign in."
        else:
            accounts.enable_user(session, name, actor=current_actor())
            message = f"“{name}” may sign in again."
    return done(url_for(".show", number=number), message)


@blueprint.post("/<int:number>/sign-out")
@role(Role.ADMIN)
def sign_out(number: int) -> AnyResponse:
    """End all sign-ins of somebody."""
    with dashboard_state().change() as session:
        name = accounts.get_user(session, number).name
        accounts.end_sessions(session, name, actor=current_actor())
    return done(url_for(".show", number=number), f"“{name}” is signed out everywhere.")


def _role() -> Role:
    """Return the role that the form names."""
    try:
        return Role(request.form.get("role", ""))
    except ValueError as error:
        raise Invalid.one("role", f"A role is one of {', '.join(Role)}.") from error


def _tags() -> list[str]:
    """Return the tags that the form names, those that somebody is to be limited to."""
    return accounts.checked_tags(re.split(r"[\s,]+", request.form.get("tags", "").strip()))


def _password() -> tuple[str, bool]:
    """Return the password that was typed; without one, one that is made up, and True."""
    typed = request.form.get("password", "")
    return (typed, False) if typed else (passwords.made_up(), True)


def _form(problem: Invalid | None = None, *, status: int = 200) -> Response:
    response = render(
        "people/new.html",
        name=request.form.get("name", ""),
        role=request.form.get("role", Role.VIEWER.value),
        tags=request.form.get("tags", ""),
        roles=ROLES,
        errors=_complaints(problem),
    )
    response.status_code = status
    return response


def _person(number: int, concerns: str = "", problem: DashboardError | None = None) -> Response:
    with dashboard_state().database.read() as session:
        user = accounts.get_user(session, number)
        sign_ins = sessions.list_sign_ins(session, number)
    response = render(
        "people/person.html",
        user=user,
        tags=request.form.get("tags", ", ".join(user.tags)),
        roles=ROLES,
        browsers=[(row, browser_of(row.user_agent)) for row in sign_ins],
        errors=_complaints(problem, concerns),
    )
    if problem is not None:
        response.status_code = problem.status
    return response


def _complaints(problem: DashboardError | None, concerns: str = "") -> dict[str, list[str]]:
    """Return messages by field; what names no field is about the one it `concerns`."""
    if not isinstance(problem, Invalid):
        return {} if problem is None else {concerns: [str(problem)]}
    return by_field(problem.errors)


def _show_once(number: int, name: str, password: str) -> Response:
    """Show a password in the answer itself: it is kept nowhere, in no cookie and no cache."""
    response = render("people/password.html", number=number, name=name, password=password)
    response.headers["Cache-Control"] = "no-store"
    return response
