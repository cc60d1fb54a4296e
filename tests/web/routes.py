"""Every route there is, to test what must hold for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.routing import AnyConverter

from dashboard.web import make_blueprint
from dashboard.web.access import API, declared_access

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from dashboard.storage.models import Role


def _make_routes() -> tuple[Flask, list[Rule]]:
    app = Flask("routes", static_folder=None)
    app.register_blueprint(make_blueprint())
    return app, list(app.url_map.iter_rules())


APP, _ALL = _make_routes()
RULES = [rule for rule in _ALL if not rule.endpoint.startswith(f"{API}.")]
"""The routes of pages."""
API_RULES = [rule for rule in _ALL if rule.endpoint.startswith(f"{API}.")]


def address(rule: Rule) -> str:
    """Fill in a rule's parts with something."""
    adapter = APP.url_map.bind("localhost")
    values = {
        name: min(kind.items) if isinstance(kind, AnyConverter) else 1
        for name, kind in rule._converters.items()
    }
    return adapter.build(rule.endpoint, values, method=next(iter(methods(rule))))


def methods(rule: Rule) -> set[str]:
    return (rule.methods or set()) - {"HEAD", "OPTIONS"}


def named(rules: list[Rule]) -> list[object]:
    return [pytest.param(rule, id=f"{rule.endpoint} {rule.rule}") for rule in rules]


def needing(*roles: Role, rules: list[Rule] = RULES) -> list[Rule]:
    with APP.app_context():
        return [rule for rule in rules if declared_access(rule.endpoint) in roles]
