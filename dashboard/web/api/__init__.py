"""The API, version 1: what programs do. One module per resource, over the services of the pages.

A view is a function declared by `operation`: it gets an open session, what the request holds as
checked models, and returns a model. Reading, checking, transactions, tags, kept answers and the
description of it all are done there, once.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map

from dashboard.storage.models import Role
from dashboard.web.access import API, API_PATH, role
from dashboard.web.api import alerts, jobs, openapi, problems, runs, status, tasks, triggers

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def make_api() -> Blueprint:
    """Return the API as one blueprint, to be registered in that of the pages."""
    blueprint = Blueprint(API.rpartition(".")[2], __name__, url_prefix=API_PATH)
    for resource in (jobs, runs, tasks, triggers, alerts, status, openapi):
        blueprint.register_blueprint(resource.blueprint)
    blueprint.add_url_rule(
        "/<path:_rest>", view_func=elsewhere, methods=_METHODS, provide_automatic_options=False
    )
    problems.register(blueprint)
    return blueprint


@role(Role.VIEWER)
def elsewhere(_rest: str) -> Response:
    """Answer for what no operation answers: an unknown address, or a method an address lacks.

    A host app would answer with a page of its own, which programs cannot read.
    """
    rules = [
        rule.empty()
        for rule in current_app.url_map.iter_rules()
        if rule.endpoint.startswith(f"{API}.") and rule.endpoint != request.endpoint
    ]
    allowed = Map(rules).bind("").allowed_methods(request.path)
    if not allowed:
        raise NotFound
    allowed = sorted({*allowed, "OPTIONS"})
    if request.method == "OPTIONS":
        return Response(status=204, headers={"Allow": ", ".join(allowed)})
    raise MethodNotAllowed(allowed)
