"""What people see. One module per screen, each with a blueprint; this puts them together.

In a host app only requests to these pages are touched: the guard, the headers and the error pages
belong to the blueprint, and templates have an environment of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request
from flask_compress import Compress

from dashboard.web import (
    alerts,
    audit,
    bulk,
    editor,
    errors,
    exchange,
    favicon,
    handlers,
    health,
    job,
    jobs,
    metrics,
    now,
    people,
    profile,
    run,
    run_export,
    runs,
    signin,
    silences,
    system,
    timeline,
    tokens,
    views,
)
from dashboard.web.access import guard, request_id
from dashboard.web.api import make_api
from dashboard.web.assets import DAY, YEAR, folder
from dashboard.web.frontdoor import TrustedProxies, check_host
from dashboard.web.state import EXTENSION, dashboard_state

if TYPE_CHECKING:
    from flask import Flask, Response

    from dashboard.settings import Settings
    from dashboard.web.state import DashboardState

LARGEST_REQUEST = 1_000_000
"""Bytes of a request's body; a form of ours has a few thousand."""

POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)


SCREENS = (
    errors,
    alerts,
    tokens,
    now,
    jobs,
    exchange,
    job,
    bulk,
    editor,
    runs,
    run,
    run_export,
    views,
    silences,
    timeline,
    audit,
    system,
    people,
    profile,
    health,
    metrics,
    signin,
    favicon,
)


def make_blueprint() -> Blueprint:
    """Return all pages as one blueprint, to be registered under any prefix."""
    blueprint = Blueprint(
        "dashboard", __name__, static_folder=folder("static"), static_url_path="/static"
    )
    for screen in SCREENS:
        blueprint.register_blueprint(screen.blueprint)
    blueprint.register_blueprint(make_api())
    blueprint.before_request(_limit_request)
    blueprint.before_request(guard)
    blueprint.after_request(_add_headers)
    handlers.register(blueprint)
    return blueprint


def init_web(app: Flask, state: DashboardState, *, prefix: str = "", own_app: bool = False) -> None:
    """Put the pages of `state` into `app`, under `prefix`.

    With `own_app` the app is ours alone, and cookies, compression and the pages for addresses
    nobody has are set up too. In a host app those are the host's.
    """
    app.extensions[EXTENSION] = state
    app.register_blueprint(make_blueprint(), url_prefix=prefix or None)
    if own_app:
        _set_up_own_app(app, state.settings)


def _set_up_own_app(app: Flask, settings: Settings) -> None:
    secure = settings.behind_tls
    app.config.update(
        # The prefix makes browsers insist on Secure, Path=/ and no Domain.
        SESSION_COOKIE_NAME="__Host-dashboard" if secure else "dashboard",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        MAX_CONTENT_LENGTH=LARGEST_REQUEST,
        COMPRESS_ALGORITHM=["zstd", "br", "gzip"],
        COMPRESS_STREAMS=False,
    )
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.proxy_networks)  # type: ignore[method-assign]
    app.before_request(check_host)
    Compress(app)
    app.after_request(_read_file)  # before Compress: Flask calls them last to first
    app.after_request(_add_headers)
    handlers.register_not_routed(app)


def _read_file(response: Response) -> Response:
    """Turn a static file into an answer that can be compressed whole.

    Flask-Compress could do so piece by piece, but would leave the file open.
    """
    if request.endpoint == "dashboard.static":
        response.direct_passthrough = False
        response.make_sequence()
    return response


def _limit_request() -> None:
    """Bound what a request may send, also in a host app that sets no bound."""
    uploads = request.blueprint == f"dashboard.{exchange.blueprint.name}"
    if request.max_content_length in {None, LARGEST_REQUEST}:
        request.max_content_length = exchange.LARGEST_UPLOAD if uploads else LARGEST_REQUEST
    if uploads:
        request.max_form_memory_size = exchange.LARGEST_UPLOAD


def _add_headers(response: Response) -> Response:
    """Add what tells browsers to be strict, and caches to keep nothing of people's data."""
    headers = response.headers
    headers["Content-Security-Policy"] = POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["X-Frame-Options"] = "DENY"
    headers["X-Request-ID"] = request_id()
    if request.is_secure and dashboard_state().settings.behind_tls:
        headers["Strict-Transport-Security"] = f"max-age={YEAR}"
    if request.endpoint == "dashboard.static":
        # Fonts are named in the stylesheet, which cannot know their content's hash.
        named = "v" in request.args
        headers["Cache-Control"] = (
            f"public, max-age={YEAR}, immutable" if named else f"public, max-age={DAY}"
        )
    else:
        headers.setdefault("Cache-Control", "private, no-cache")
    return response
