"""In whose time zone pages tell times: that of whoever looks at them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flask import g, has_request_context, request

from dashboard.scheduling.wallclock import zone_named
from dashboard.web.access import current_user
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

ZONE_COOKIE = "dashboard_zone"
"""The zone of the person's own clock, as the browser tells it."""


def display_zone() -> ZoneInfo:
    """Return the zone of this page's times, looked up once a request.

    It is the one of the person's profile, else the browser's, else the dashboard's own.
    """
    if not has_request_context():
        return zone_named(dashboard_state().settings.timezone)
    if "dashboard_zone" not in g:
        g.dashboard_zone = viewer_zone() or zone_named(dashboard_state().settings.timezone)
    zone: ZoneInfo = g.dashboard_zone
    return zone


def viewer_zone() -> ZoneInfo | None:
    """Return the zone of whoever looks, if it is known."""
    user = current_user()
    return (known_zone(user.timezone) if user else None) or known_zone(
        request.cookies.get(ZONE_COOKIE, "")
    )


@lru_cache(maxsize=64)
def known_zone(name: str) -> ZoneInfo | None:
    """Return the zone of that name; None if there is no such zone here."""
    try:
        return zone_named(name) if name else None
    except ValueError:
        return None
