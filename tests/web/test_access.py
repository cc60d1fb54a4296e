"""What routes say about who may use them is what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.storage.models import Role
from tests.web.routes import RULES, address, methods, named, needing
from tests.web.site import HTMX, words

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from tests.web.site import Site

# Who may do what has nothing to do with the kind of database.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize("rule", named([rule for rule in needing(*Role) if "GET" in methods(rule)]))
def test_pages_send_strangers_to_the_sign_in(site: Site, rule: Rule) -> None:
    stranger = site.client.application.test_client()
    answer = stranger.get(address(rule))
    assert answer.status_code == 303
    assert answer.location == f"/login?next={address(rule)}"


@pytest.mark.parametrize(
    "rule", named([rule for rule in needing(*Role) if "POST" in methods(rule)])
)
def test_actions_do_nothing_for_strangers(site: Site, rule: Rule) -> None:
    stranger = site.client.application.test_client()
    assert stranger.post(address(rule)).status_code == 303
    in_place = stranger.post(address(rule), headers=HTMX)
    assert in_place.status_code == 401
    assert "You are signed out" in in_place.text


@pytest.mark.parametrize("rule", named(needing(Role.OPERATOR, Role.ADMIN)))
def test_viewers_are_refused_what_changes_something(site: Site, rule: Rule) -> None:
    site.sign_in(Role.VIEWER)
    answer = site.client.open(address(rule), method=next(iter(methods(rule))))
    assert answer.status_code == 403
    assert "needs the role" in answer.text


@pytest.mark.parametrize("rule", named(needing(Role.ADMIN)))
def test_operators_are_refused_what_admins_do(site: Site, rule: Rule) -> None:
    site.sign_in(Role.OPERATOR)
    answer = site.client.open(address(rule), method=next(iter(methods(rule))))
    assert answer.status_code == 403


@pytest.mark.parametrize("rule", named([rule for rule in RULES if "POST" in methods(rule)]))
def test_no_form_is_taken_without_its_token(site: Site, rule: Rule) -> None:
    answer = site.client.post(address(rule), data={"name": "x"})
    assert answer.status_code == 400
    assert "nothing was done" in answer.text or "sign in once more" in answer.text


def test_a_route_that_declares_nothing_answers_nobody(site: Site) -> None:
    views = site.client.application.view_functions
    views["dashboard.now.show"] = lambda: "hello"
    assert "hello" not in site.client.get("/").text
    assert site.client.get("/").status_code == 403


def test_people_are_shown_only_what_they_may_do(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    assert "New job" not in words(site.get("/jobs"))
    site.sign_in(Role.ADMIN)
    assert "New job" in words(site.get("/jobs"))
