"""The answer for machines that watch whether the database is there and the scheduler alive."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from flask import Blueprint, jsonify, request

from dashboard.services.status import scheduler_status
from dashboard.web.access import SignInNeeded, current_user, public
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("health", __name__)

_log = logging.getLogger(__name__)


@blueprint.get("/healthz")
@public
def healthz() -> tuple[Response, int]:
    """Answer 200 while jobs are being started, else 503; to other machines only when signed in."""
    report, healthy = _examine()
    if not is_loopback(request.remote_addr) and current_user() is None:
        raise SignInNeeded
    response = jsonify(report)
    response.headers["Cache-Control"] = "no-store"
    return response, 200 if healthy else 503


def is_loopback(address: str | None) -> bool:
    """Say whether a request came from this machine."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    # Sockets that serve both protocols write IPv4 addresses as ::ffff:127.0.0.1.
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _examine() -> tuple[dict[str, Any], bool]:
    """Look at the database and the lease; that the database cannot be read is an answer too."""
    try:
        with dashboard_state().database.read() as session:
            status = scheduler_status(session)
    except Exception:  # noqa: BLE001 -- drivers raise what they like, and pages know no SQL
        _log.exception("the health check could not read the database")
        return {"scheduler": "unknown", "database": "failed", "heartbeat_age_seconds": None}, False
    age = status.heartbeat_age_seconds
    return {
        "scheduler": status.state,
        "database": "ok",
        "heartbeat_age_seconds": None if age is None else round(age, 1),
    }, status.alive
