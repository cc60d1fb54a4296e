"""What holds for every route, whoever adds one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.web.access import declared_access
from tests.web.routes import API_RULES, APP, RULES, methods, named

if TYPE_CHECKING:
    from werkzeug.routing import Rule

PUBLIC = {
    "dashboard.static",
    "dashboard.health.healthz",
    "dashboard.metrics.show",
    "dashboard.favicon.show",
    "dashboard.signin.login",
    "dashboard.signin.check",
    "dashboard.signin.logout",
    "dashboard.signin.choose_theme",
    "dashboard.api.openapi.show",
}


@pytest.mark.parametrize("rule", named(RULES + API_RULES))
def test_every_route_declares_its_access(rule: Rule) -> None:
    with APP.app_context():
        access = declared_access(rule.endpoint)
    assert access is not None
    assert (access == "public") == (rule.endpoint in PUBLIC)


@pytest.mark.parametrize("rule", named(RULES))
def test_only_post_changes_state(rule: Rule) -> None:
    assert methods(rule) in ({"GET"}, {"POST"}), "one view for asking, another for acting"
