"""The icon in the browser's tab, with the number of problems on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, make_response, request

from dashboard.web.access import public
from dashboard.web.assets import DAY
from dashboard.web.rendering import draw

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("favicon", __name__)


@blueprint.get("/favicon.svg")
@public
def show() -> Response:
    """Draw the icon; its address says the number, so it tells nobody anything."""
    problems = min(max(request.args.get("problems", 0, type=int), 0), 99)
    response = make_response(draw("favicon.svg", problems=problems))
    response.headers["Content-Type"] = "image/svg+xml"
    response.headers["Cache-Control"] = f"public, max-age={DAY}"
    return response
