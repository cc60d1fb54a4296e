"""`/openapi.json`: the description of the API, made from its routes and the models they declare."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, request
from pydantic.json_schema import models_json_schema
from werkzeug.routing import IntegerConverter

from dashboard.services.idempotency import FIELD, LONGEST_KEY
from dashboard.storage.models import Role
from dashboard.web.access import API, API_PATH, declared_access, public
from dashboard.web.api.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode
    from werkzeug.routing import Rule

    from dashboard.web.api.operations import Operation

blueprint = Blueprint("openapi", __name__)

ABOUT = (
    "Jobs, runs and triggers of one dashboard. Every answer and every request is JSON; what is"
    " refused is answered with application/problem+json. Lists are paged: give the `next` of one"
    " page as `after` for the following one."
)
KEPT = "dashboard.openapi"
"""Under this the app keeps its description."""

REFERENCE = "#/components/schemas/{model}"

_TEXT = {"schema": {"type": "string"}}
_HEADERS = {
    "ETag": _TEXT | {"description": "Send it as If-None-Match; 304 says nothing has changed."},
    "Location": _TEXT | {"description": "Where to find what was made."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
    "WWW-Authenticate": _TEXT,
}
_REFUSALS = {
    400: "The request cannot be understood.",
    401: "There is no token, or it works no longer.",
    403: "The token's role does not reach so far.",
    404: "There is no such thing.",
    409: "The present state does not allow it, or is not the one expected.",
    413: "The request is too long.",
    415: "The body is not application/json.",
    422: "Some fields are not valid; `errors` names each.",
    429: "More requests than the token may send.",
    500: "A fault of the dashboard.",
}


@blueprint.get("/openapi.json", provide_automatic_options=False)
@public
def show() -> Response:
    """Describe the API. It is the same everywhere and tells nothing of anybody's jobs."""
    kept = current_app.extensions
    if KEPT not in kept:  # strangers may ask, and it takes a while to make
        kept[KEPT] = describe()
    told: dict[str, Any] = kept[KEPT]
    servers = [{"url": request.script_root + each["url"]} for each in told["servers"]]
    text = json.dumps(told | {"servers": servers}, ensure_ascii=False)
    response = Response(text, mimetype="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response


def describe() -> dict[str, Any]:
    """Return the description as OpenAPI 3.1."""
    operations = sorted(_operations(), key=lambda found: found[0].rule)
    models: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
    for _rule, _method, each in operations:
        models |= dict.fromkeys(filter(None, (each.query, each.body)), "validation")
        models |= dict.fromkeys(filter(None, (each.answer,)), "serialization")
    _names, schemas = models_json_schema(list(models.items()), ref_template=REFERENCE)
    definitions = schemas["$defs"]
    prefix = ""
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, each in operations:
        prefix, path = _split(rule)
        paths.setdefault(path, {})[method.lower()] = _operation(rule, method, each, definitions)
    for _rule, _method, each in operations:
        if each.query is not None:  # told as parameters
            definitions.pop(each.query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "APScheduler Dashboard", "version": "1", "description": ABOUT},
        "servers": [{"url": prefix}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operations() -> Iterator[tuple[Rule, str, Operation]]:
    """Yield every operation of the route table."""
    for rule in current_app.url_map.iter_rules():
        if rule.endpoint.startswith(f"{API}."):
            view = current_app.view_functions[rule.endpoint]
            declared: Operation | None = getattr(view, "dashboard_operation", None)
            if declared is not None:
                for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                    yield rule, method, declared


def _split(rule: Rule) -> tuple[str, str]:
    """Return the address of the API, and the path below it with its parts in braces."""
    prefix, version, path = rule.rule.partition(API_PATH)
    return prefix + version, re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", path)


def _operation(
    rule: Rule, method: str, each: Operation, definitions: dict[str, Any]
) -> dict[str, Any]:
    needed = declared_access(rule.endpoint)
    told: dict[str, Any] = {
        "operationId": rule.endpoint.removeprefix(f"{API}.").replace(".", "_"),
        "summary": each.summary,
        "description": f"{each.description} Needs the role {needed}.".strip(),
        "tags": [rule.endpoint.removeprefix(f"{API}.").partition(".")[0]],
        "parameters": [*_path_parameters(rule), *_query_parameters(each, definitions)],
        "responses": {str(status): answer for status, answer in _responses(rule, method, each)},
    }
    if each.changes and method == "POST":
        told["parameters"].append(_once())
    if each.body is not None:
        schema = definitions[each.body.__name__]
        told["requestBody"] = {
            "required": bool(schema.get("required")),
            "content": {"application/json": {"schema": _reference(each.body)}},
        }
    return told


def _path_parameters(rule: Rule) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments):
        number = isinstance(rule._converters[name], IntegerConverter)  # noqa: SLF001
        schema = {"type": "integer", "minimum": 1} if number else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(each: Operation, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if each.query is None:
        return
    for name, schema in definitions[each.query.__name__].get("properties", {}).items():
        kept = {key: value for key, value in schema.items() if key not in {"title", "description"}}
        told = {"name": name, "in": "query", "schema": kept}
        yield told | ({"description": schema["description"]} if "description" in schema else {})


def _once() -> dict[str, Any]:
    return {
        "name": FIELD,
        "in": "header",
        "description": "Done once, however often it is sent within 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    }


def _responses(rule: Rule, method: str, each: Operation) -> Iterator[tuple[int, dict[str, Any]]]:
    good: dict[str, Any] = {"description": "Done." if each.changes else "The answer."}
    if each.answer is not None:
        good["content"] = {"application/json": {"schema": _reference(each.answer)}}
    if each.tag:
        good["headers"] = {"ETag": _HEADERS["ETag"]}
        yield 304, {"description": "Nothing has changed."}
    if each.status in {201, 202}:
        good["headers"] = {"Location": _HEADERS["Location"]}
    yield each.status, good
    for status in sorted(_refusals(rule, method, each)):
        headers = {401: "WWW-Authenticate", 429: "Retry-After"}.get(status)
        told: dict[str, Any] = {"description": _REFUSALS[status]}
        if headers:
            told["headers"] = {headers: _HEADERS[headers]}
        yield status, told | {"content": {MEDIA_TYPE: {"schema": _reference(Problem)}}}


def _refusals(rule: Rule, method: str, each: Operation) -> Iterator[int]:
    """Yield the statuses with which an operation may refuse."""
    yield from (400, 401, 422, 429, 500)
    if declared_access(rule.endpoint) is not Role.VIEWER:
        yield 403
    if rule.arguments:
        yield 404
    if each.body is not None:
        yield from (413, 415)
    if each.conflicts or (each.changes and method == "POST"):
        yield 409


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=model.__name__)}
