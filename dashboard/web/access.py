"""Who may do what: every route declares the role it needs, and nothing undeclared answers.

Who is signed in is kept in the app's own session under one key: account, epoch and two times. No
login extension: in a host app it would have to share `app.login_manager` with the host's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from flask import current_app, g, request, session
from flask_wtf.csrf import validate_csrf
from werkzeug.exceptions import Forbidden
from wtforms import ValidationError

from dashboard.errors import NotAllowed
from dashboard.services import accounts
from dashboard.services.audit import Actor
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dashboard.services.accounts import Person
    from dashboard.storage.models import Role, User

View = TypeVar("View", bound="Callable[..., Any]")

SESSION_KEY = "dashboard.user"
CSRF_KEY = "csrf_token"

IDLE_SECONDS = 12 * 3600
"""A sign-in ends after this long without anybody doing anything; live updates do not count."""

LONGEST_SECONDS = 7 * 24 * 3600
"""A sign-in ends after this long whatever happens."""

_SEEN_STEP = 300  # the session cookie is renewed at most this often

_PUBLIC = "public"


class SignInNeeded(Exception):
    """Nobody is signed in, and the page is not for everybody."""


class FormExpired(Exception):
    """The form's token does not belong to the present session; nothing was done."""


def role(needed: Role) -> Callable[[View], View]:
    """Declare the role a view needs. Every route has this or `public`."""

    def declare(view: View) -> View:
        view.dashboard_access = needed  # type: ignore[attr-defined]
        return view

    return declare


def public(view: View) -> View:
    """Declare that a view answers anybody."""
    view.dashboard_access = _PUBLIC  # type: ignore[attr-defined]
    return view


def declared_access(endpoint: str) -> Role | str | None:
    """Return what a route declares: a role, `public`, or None for nothing.

    Static files are everybody's: the sign-in page needs them.
    """
    if endpoint == "dashboard.static":
        return _PUBLIC
    access: Role | str | None = getattr(
        current_app.view_functions[endpoint], "dashboard_access", None
    )
    return access


def guard() -> None:
    """Let a request through to its view, or refuse it; runs before every view of the blueprint."""
    needed = declared_access(request.endpoint or "")
    if needed is None:
        raise Forbidden("This page does not say who may see it, so nobody may.")
    if needed != _PUBLIC:
        user = current_user()
        if user is None:
            raise SignInNeeded
        if not user.role.includes(needed):  # type: ignore[arg-type]
            raise NotAllowed(
                f"This needs the role “{needed}”; you are signed in as “{user.role}”."
                " Ask an admin, or sign in with another account."
            )
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        _check_form_token()


def _check_form_token() -> None:
    """Refuse a POST that no page of ours sent. A token lives as long as its session."""
    token = request.headers.get("X-CSRFToken") or request.form.get(CSRF_KEY)
    try:
        validate_csrf(token, time_limit=LONGEST_SECONDS, token_key=CSRF_KEY)
    except ValidationError as error:
        raise FormExpired from error


def current_user() -> Person | None:
    """Return who is signed in, looked up once a request; a disabled account is nobody."""
    if "dashboard_user" not in g:
        g.dashboard_user = _load_user()
    user: Person | None = g.dashboard_user
    return user


def current_actor() -> Actor:
    """Return who acts, for services and the audit log."""
    user = current_user()
    if user is None:
        raise SignInNeeded
    return Actor(name=user.name, role=user.role, address=request.remote_addr)


def may(needed: str) -> bool:
    """Say whether the person may do what `needed` may: pages leave out what would be refused."""
    user = current_user()
    return user is not None and user.role.includes(type(user.role)(needed))


def sign_in(user: User) -> None:
    """Begin a session for `user`, taking nothing over from the one before."""
    forget()
    now = int(time.time())
    session[SESSION_KEY] = {"id": user.id, "epoch": user.epoch, "since": now, "seen": now}
    g.pop("dashboard_user")


def forget() -> None:
    """End the session's sign-in, and with it every form token it gave out."""
    session.pop(SESSION_KEY, None)
    session.pop(CSRF_KEY, None)
    g.pop(CSRF_KEY, None)
    g.dashboard_user = None


def _load_user() -> Person | None:
    kept = session.get(SESSION_KEY)
    if kept is None:
        return None
    now = int(time.time())
    if now - kept["since"] > LONGEST_SECONDS or now - kept["seen"] > IDLE_SECONDS:
        return None
    with dashboard_state().database.read() as database_session:
        user = accounts.get_person(database_session, kept["id"])
    if user is None or not user.active or user.epoch != kept["epoch"]:
        return None
    if now - kept["seen"] > _SEEN_STEP and "If-None-Match" not in request.headers:
        session[SESSION_KEY] = kept | {"seen": now}
    return user
