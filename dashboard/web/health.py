"""The answer for machines that watch whether the database is there and the scheduler alive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flask import Blueprint, jsonify, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from dashboard.services.status import scheduler_status
from dashboard.web.access import SignInNeeded, current_bearer, current_user, public
from dashboard.web.frontdoor import address_of
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("health", __name__)

_BEARER = WWWAuthenticate("bearer", {"realm": "apscheduler-dashboard"})

_log = logging.getLogger(__name__)


@blueprint.get("/healthz")
@public
def healthz() -> tuple[Response, int]:
    """Answer 200 while jobs are being started, else 503; see `check_prober` for to whom."""
    report, healthy = _examine()
    check_prober()
    response = jsonify(report)
    response.headers["Cache-Control"] = "no-store"
    return response, 200 if healthy else 503


def check_prober() -> None:
    """Refuse whoever may not watch: neither on this machine, nor of `probes`, nor known to us.

    What a proxy on this machine passes on comes from anywhere. A token of any role will do.
    """
    passed_on = any(header in request.headers for header in ("X-Forwarded-For", "Forwarded"))
    address = address_of(request.remote_addr or "")
    if address is not None:
        if address.is_loopback and not passed_on:
            return
        if any(address in network for network in dashboard_state().settings.probe_networks):
            return
    if "Authorization" in request.headers and current_bearer() is None:
        raise Unauthorized("This token is none of ours, or no longer.", www_authenticate=_BEARER)
    if current_bearer() is None and current_user() is None:
        raise SignInNeeded


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
