"""People who were signed in elsewhere: by the host app, or by a proxy with single sign-on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import request

from dashboard.services import accounts
from dashboard.services.sessions import Visit
from dashboard.storage.models import Role
from dashboard.web.frontdoor import TRUSTED
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from dashboard.web.state import Granted

logger = logging.getLogger(__name__)


def visit_from_elsewhere() -> Visit | None:
    """Return who asks according to the host app or the proxy, if either says."""
    state = dashboard_state()
    granted = state.user() if state.user is not None else _named_by_proxy()
    if granted is None:
        return None
    name, word, *limits = (granted, None) if isinstance(granted, str) else granted
    tags = limits[0] if limits else None
    person = accounts.person_from_elsewhere(state.database, name, _role(word), tags)
    return None if person is None else Visit(person)


def _named_by_proxy() -> Granted:
    """Return the name (and role) in the headers of a proxy whose word counts."""
    settings = dashboard_state().settings
    if not (settings.proxy_user_header and request.environ.get(TRUSTED)):
        return None
    name = _header(settings.proxy_user_header)
    if not name:
        return None
    role = _header(settings.proxy_role_header) if settings.proxy_role_header else ""
    return (name, role) if role else name


def _header(name: str) -> str:
    """Return a header's text; proxies write UTF-8, which WSGI hands over as Latin-1."""
    text = request.headers.get(name, "").strip()
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _role(word: str | None) -> Role | None:
    """Return the role that was granted; a word that is none grants the least."""
    if not word:
        return None
    try:
        return Role(word.strip().lower())
    except ValueError:
        logger.warning("“%s” is no role; it counts as viewer", word)
        return Role.VIEWER
