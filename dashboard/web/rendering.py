"""Answering: a page or its live part, a toast, a redirect.

Templates have an environment of their own, so that nothing of ours shows up in a host app's.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Response, make_response, redirect, request, session, url_for
from flask_wtf.csrf import generate_csrf
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboard.storage.db import read_revision
from dashboard.web import filters
from dashboard.web.access import CSRF_KEY, current_user, current_visit, has_role, may
from dashboard.web.assets import asset, folder
from dashboard.web.shell import navigation, scheduler_now, shell, theme
from dashboard.web.state import dashboard_state
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sqlalchemy.orm import Session
    from werkzeug.wrappers import Response as AnyResponse

SPRITE = "vendor/icons.svg"
TOASTS_KEY = "dashboard.toasts"
REFRESH_SECONDS = 30
"""Live parts are drawn anew at least this often, because “3 min ago” ages by itself."""


@cache
def templates() -> Environment:
    """Return the environment of our templates; an unknown name in one is an error, not a blank."""
    environment = Environment(
        loader=FileSystemLoader(folder("templates")),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters.FILTERS)
    environment.globals.update(
        asset=asset,
        count=filters.count,
        csrf_token=csrf_token,
        draw_badge=draw_badge,
        draw_icon=draw_icon,
        here=here,
        look=filters.look,
        has_role=has_role,
        may=may,
        navigation=navigation,
        now=lambda: datetime.now(UTC),
        person=current_user,
        shell=shell,
        take_toasts=take_toasts,
        theme=theme,
        url_for=url_for,
        visit=current_visit,
        zone_name=lambda: display_zone().key,
    )
    return environment


def draw_badge(state: str) -> str:
    """Draw the state of a run, a job or the scheduler, or a job's health."""
    return piece("badge", asset(SPRITE), str(state))


def draw_icon(name: str, label: str | None = None) -> str:
    """Draw an icon."""
    return piece("icon", asset(SPRITE), name, label)


@lru_cache(maxsize=4096)
def piece(name: str, *arguments: Hashable) -> str:
    """Draw a macro of `_pieces.html`, once for the same arguments."""
    return draw_macro("_pieces.html", name, *arguments)


def draw_macro(template: str, name: str, *arguments: Any) -> str:
    """Draw a macro of one of our templates; it knows its arguments and globals only."""
    text: str = getattr(templates().get_template(f"dashboard/{template}").module, name)(*arguments)
    return text


def csrf_token() -> str:
    """Return the token that forms of this session carry."""
    token: str = generate_csrf(token_key=CSRF_KEY)
    return token


def here() -> str:
    """Return the address of the present page, its query included."""
    return request.script_root + request.full_path.removesuffix("?")


def draw(template: str, **context: object) -> str:
    """Render one of our templates to text."""
    return templates().get_template(f"dashboard/{template}").render(**context)


def wants_partial() -> bool:
    """Say whether htmx swaps a region; a boosted link or Back wants the page."""
    headers = request.headers
    return "HX-Request" in headers and not (
        "HX-Boosted" in headers or "HX-History-Restore-Request" in headers
    )


def render(
    page: str, *, partial: str | None = None, etag: str | None = None, **context: object
) -> Response:
    """Answer htmx with `partial`, anyone else with `page`, from one context.

    With an `etag` (from `live_etag`) the partial is a live region, whose next poll is answered with
    304 while nothing has changed.
    """
    if partial is None or not wants_partial():
        response = make_response(draw(page, etag=etag, **context))
    else:
        text = draw(partial, etag=etag, **context) + draw("_toast_partials.html")
        response = make_response(text)
        if etag is not None:
            response.set_etag(etag, weak=True)
    response.vary.add("HX-Request")
    return response


def live_etag(session: Session) -> str:
    """Return a tag that changes whenever a live region could look different."""
    user = current_user()
    parts = (
        read_revision(session),
        scheduler_now(session).state,
        dashboard_state().problem(),
        user,
        display_zone().key,
        int(time.time() // REFRESH_SECONDS),
        here(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def not_modified(etag: str) -> Response | None:
    """Return the 304 that answers a poll that has seen `etag` already, else None."""
    if not (wants_partial() and request.if_none_match.contains_weak(etag)):
        return None
    response = Response(status=304)
    response.set_etag(etag, weak=True)
    response.vary.add("HX-Request")
    return response


def toast(message: str, kind: str = "good", *, undo: str | None = None) -> None:
    """Tell the person something with the next thing that is drawn: kind is good, bad or info.

    `undo` is the address to post to for undoing what the message tells of.
    """
    session[TOASTS_KEY] = [*session.get(TOASTS_KEY, []), [kind, message, undo]]


def take_toasts() -> list[list[str | None]]:
    """Return the toasts not yet shown, once: kind, message and where to undo it."""
    toasts: list[list[str | None]] = session.pop(TOASTS_KEY, []) if TOASTS_KEY in session else []
    return toasts


def done(
    url: str, message: str, *, kind: str = "good", leave: bool = False, undo: str | None = None
) -> AnyResponse:
    """Answer an action that succeeded: in place with a toast, or without JavaScript by a redirect.

    In place, every live region of the page looks again at once. `leave` goes to `url` in any case
    (the thing acted on is gone, say); otherwise a plain form comes back to the page it was on.
    `undo`: the toast offers to post there.
    """
    toast(message, kind, undo=undo)
    if not wants_partial():
        return redirect(url if leave else page_before() or url, 303)
    if leave:
        return Response(status=204, headers={"HX-Redirect": url})
    response = make_response(draw("_toast_partials.html"))
    response.headers["HX-Trigger"] = "refresh-live"
    return response


def page_before() -> str | None:
    """Return the page of ours that sent this request, as a local address."""
    referrer = urlsplit(request.referrer or "")
    if referrer.netloc != request.host or not is_local(referrer.path):
        return None
    return referrer.path + (f"?{referrer.query}" if referrer.query else "")


def is_local(url: str) -> bool:
    """Say whether `url` stays on this site, whatever a browser makes of slashes and controls."""
    return (
        url.startswith("/")
        and not url.startswith(("//", "/\\"))
        and url.isprintable()
        and "\\" not in url
    )
