"""Who may do what: every route declares the role it needs, and nothing undeclared answers.

Who is signed in is a row in the database; the browser has a cookie with its token, apart from the
app's session, which in a host app is the host's. No login extension: it would have to share
`app.login_manager` with the host's.

The API takes a token instead. A session may read there, for people who look at it in a browser; it
can change nothing, so no page elsewhere can make a browser do so, and no form token is needed.
"""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from flask import after_this_request, current_app, g, request, session, url_for
from flask_wtf.csrf import validate_csrf
from werkzeug.exceptions import Forbidden
from wtforms import ValidationError

from dashboard.errors import NotAllowed, TooManyRequests
from dashboard.services import audit, reach, sessions, tokens
from dashboard.services.audit import Actor
from dashboard.storage.models import Role
from dashboard.web.elsewhere import visit_from_elsewhere
from dashboard.web.frontdoor import REQUEST_ID
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from typing import Any

    from flask import Response

    from dashboard.services.sessions import Person, Visit
    from dashboard.services.tokens import Bearer
    from dashboard.storage.models import User

View = TypeVar("View", bound="Callable[..., Any]")

logger = logging.getLogger(__name__)

CSRF_KEY = "csrf_token"
COOKIE = "dashboard-sign-in"

_SEEN_STEP = timedelta(minutes=5)  # how exactly it is known when somebody was last there

_PUBLIC = "public"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

NOTED_REFUSALS = 30
"""Refused requests of one person or program that are noted a minute."""

API = "dashboard.api"
"""The blueprint of the API."""
API_PATH = "/api/v1"


class SignInNeeded(Exception):
    """Nobody is signed in, and the page is not for everybody."""


class FormExpired(Exception):
    """The form's token does not belong to the present session; nothing was done."""

    def __str__(self) -> str:
        return "The form's token was missing or did not belong to the session."


def role(needed: Role, *, for_each: bool = False) -> Callable[[View], View]:
    """Declare the role a view needs. Every route has this or `public`.

    Who is limited to tags has the role for the job that the address names. Where it names none,
    the role has to be for everything, but for views whose service asks `for_each` of the jobs.
    """

    def declare(view: View) -> View:
        view.dashboard_access = needed  # type: ignore[attr-defined]
        view.dashboard_for_each = for_each  # type: ignore[attr-defined]
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


def asks_for_each(endpoint: str) -> bool:
    """Say whether what is behind a route asks for each job whether the person may act on it."""
    return getattr(current_app.view_functions[endpoint], "dashboard_for_each", False)


def guard() -> None:
    """Let a request through to its view, or refuse it; runs before every view of the blueprint."""
    try:
        _check()
    except (NotAllowed, FormExpired) as error:
        actor = _known_actor()
        buckets = dashboard_state().buckets
        # A script that is refused again and again is noted, but does not fill the log.
        if actor is not None and not buckets.take(f"refused {actor.name}", NOTED_REFUSALS):
            audit.note(
                dashboard_state().database,
                actor,
                "request",
                request.path,
                "refused",
                method=request.method,
                why=str(error),
            )
        raise


def _check() -> None:
    needed = declared_access(request.endpoint or "")
    if needed is None:
        raise Forbidden("This page does not say who may see it, so nobody may.")
    changes = request.method not in _SAFE_METHODS
    if changes and not is_api():
        _refuse_other_sites()
    if needed != _PUBLIC:
        _admit(needed)  # type: ignore[arg-type]
    if changes and not is_api():
        _check_form_token()


def is_api() -> bool:
    """Say whether a program asks, and not a page."""
    return API in request.blueprints


def _admit(needed: Role) -> None:
    """Refuse whoever has not the role that is needed, or asks too often."""
    actor = current_actor()
    if is_api():
        per_minute = dashboard_state().settings.api_rate
        wait = dashboard_state().buckets.take(actor.name, per_minute)
        if wait:
            raise TooManyRequests(per_minute, wait)
    if not actor.role.includes(needed):
        if is_api():
            raise NotAllowed(f"This needs the role “{needed}”; {actor.name} is “{actor.role}”.")
        raise NotAllowed(
            f"This needs the role “{needed}”; you are signed in as “{actor.role}”."
            " Ask an admin, or sign in with another account."
        )
    if actor.tags and needed is not Role.VIEWER and not asks_for_each(request.endpoint or ""):
        _require_reach(actor, needed)


def _require_reach(actor: Actor, needed: Role) -> None:
    """Refuse who is limited to tags what concerns another job, or more than jobs."""
    place = request.view_args or {}
    if place.keys().isdisjoint(reach.PLACES):
        actor.require(needed)
        return
    with dashboard_state().database.read() as database_session:
        tags = reach.tags_at(database_session, place)
    if tags is not None:  # of what is not there the view knows what to say
        actor.require_for(tags, needed)


def _refuse_other_sites() -> None:
    """Refuse what a page of another site makes the browser send, sibling subdomains included.

    Browsers say so themselves: by Sec-Fetch-Site, or over plain http by Origin alone. What says
    neither is no browser of these days, and the form's token decides.
    """
    came_from = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if came_from is not None:
        own = came_from in {"same-origin", "none"}
    else:
        own = origin is None or urlsplit(origin).netloc == request.host
    if not own:
        raise NotAllowed("This was sent by a page of another site; nothing was done.")


def _check_form_token() -> None:
    """Refuse a POST that no page of ours sent. A token lives as long as its session."""
    token = request.headers.get("X-CSRFToken") or request.form.get(CSRF_KEY)
    longest = int(sessions.REMEMBERED.total_seconds())
    try:
        validate_csrf(token, time_limit=longest, token_key=CSRF_KEY)
    except ValidationError as error:
        raise FormExpired from error


def current_user() -> Person | None:
    """Return who is signed in, looked up once a request; a disabled account is nobody."""
    visit = current_visit()
    return None if visit is None else visit.person


def current_visit() -> Visit | None:
    """Return who is signed in and by which sign-in."""
    if "dashboard_visit" not in g:
        g.dashboard_visit = _find_visit()
    visit: Visit | None = g.dashboard_visit
    return visit


def current_actor() -> Actor:
    """Return who acts, for services and the audit log; raises `SignInNeeded`."""
    actor = _known_actor()
    if actor is None:
        raise SignInNeeded
    return actor


def _known_actor() -> Actor | None:
    """Return the program or the person that acts; a wrong token is not made up for by a session.

    Another kind of authorization is that of a proxy in front, which the browser sends everywhere.
    """
    who: Bearer | Person | None = current_user()
    given = request.authorization
    if is_api() and (request.method not in _SAFE_METHODS or (given and given.type == "bearer")):
        who = current_bearer()
    if who is None:
        return None
    return Actor(who.name, who.role, request.remote_addr, request_id(), tuple(who.tags))


def may(needed: str, tags: Iterable[str] | None = None) -> bool:
    """Say whether the person may do what `needed` may: pages leave out what would be refused.

    `tags` are those of the job it is about; without them it is about everything.
    """
    user = current_user()
    if user is None or not user.role.includes(Role(needed)):
        return False
    limited = bool(user.tags) and Role(needed) is not Role.VIEWER
    return not limited or not set(user.tags).isdisjoint(tags or ())


def has_role(needed: str) -> bool:
    """Say whether the person may do what `needed` may with some jobs at least."""
    user = current_user()
    return user is not None and user.role.includes(Role(needed))


class _Everything:
    """The reach of who is not limited."""

    def __contains__(self, job_id: object) -> bool:
        """Hold every job, those that were removed included."""
        return True


def reach_of(job_ids: Iterable[str]) -> Container[str]:
    """Return those of the jobs for which the person's role is."""
    user = current_user()
    if user is None or not user.tags:
        return _Everything()
    with dashboard_state().database.read() as database_session:
        return reach.jobs_within(database_session, job_ids, user.tags)


def request_id() -> str:
    """Return the request's own name, by which log and audit log can be brought together."""
    if "dashboard_request_id" not in g:
        g.dashboard_request_id = request.environ.get(REQUEST_ID) or secrets.token_hex(8)
    name: str = g.dashboard_request_id
    return name


def sign_in(user: User, *, remember: bool = False) -> None:
    """Begin a session for `user`, taking nothing over from the one before."""
    _end_session()
    with dashboard_state().database.write(touch=False) as database_session:
        token = sessions.begin(
            database_session,
            user.id,
            remember=remember,
            address=request.remote_addr,
            user_agent=request.user_agent.string,
        )
    longest = int(sessions.REMEMBERED.total_seconds())
    _set_cookie(token, max_age=longest if remember else None)


def forget() -> None:
    """End the browser's sign-in, and with it every form token it gave out."""
    _end_session()
    _set_cookie("", max_age=0)


def _end_session() -> None:
    token = request.cookies.get(_cookie_name())
    if token:
        with dashboard_state().database.write(touch=False) as database_session:
            sessions.end(database_session, token)
    session.pop(CSRF_KEY, None)
    g.pop(CSRF_KEY, None)
    g.dashboard_visit = None


def current_bearer() -> Bearer | None:
    """Return the program whose token a request to the API carries, looked up once a request."""
    if "dashboard_bearer" not in g:
        given = request.authorization
        key = given.token if given is not None and given.type == "bearer" else None
        database = dashboard_state().database
        g.dashboard_bearer = tokens.authenticate(database, key) if key else None
    bearer: Bearer | None = g.dashboard_bearer
    return bearer


def home() -> str:
    """Return the path under which all pages lie: `/`, or the prefix in a host app."""
    return url_for("dashboard.now.show")


def _cookie_name() -> str:
    """Return the cookie's name; the prefix makes browsers insist on Secure, / and no Domain."""
    strict = dashboard_state().settings.behind_tls and home() == "/"
    return f"__Host-{COOKIE}" if strict else COOKIE


def _set_cookie(token: str, *, max_age: int | None) -> None:
    secure = dashboard_state().settings.behind_tls or request.is_secure

    @after_this_request
    def set_cookie(response: Response) -> Response:
        response.set_cookie(
            _cookie_name(),
            token,
            max_age=max_age,
            path=home(),
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
        return response


def _find_visit() -> Visit | None:
    elsewhere = visit_from_elsewhere()
    if elsewhere is not None or dashboard_state().user is not None:
        return elsewhere
    token = request.cookies.get(_cookie_name())
    if not token:
        return None
    with dashboard_state().database.read() as database_session:
        visit = sessions.find(database_session, token)
    if visit is not None and "If-None-Match" not in request.headers:
        _note_presence(visit)
    return visit


def _note_presence(visit: Visit) -> None:
    """Keep a sign-in from ending by idling, after the answer: no page waits for a write."""
    sign_in, seen_at = visit.sign_in, visit.seen_at
    if sign_in is None or seen_at is None or datetime.now(UTC) - seen_at < _SEEN_STEP:
        return
    database = dashboard_state().database

    def note() -> None:
        try:
            with database.write(touch=False) as database_session:
                sessions.see(database_session, sign_in)
        except Exception:
            logger.exception("could not note that somebody is still there")

    @after_this_request
    def note_when_sent(response: Response) -> Response:
        response.call_on_close(note)
        return response
