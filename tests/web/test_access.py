"""What routes say about who may use them is what they do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dashboard.services import sessions
from dashboard.storage.models import Role, SignIn, User
from dashboard.web.access import COOKIE, declared_access
from tests.web.routes import RULES, address, methods, named, needing
from tests.web.site import HTMX, words

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from tests.web.site import Site

SIGNING_OUT = {"dashboard.signin.logout", "dashboard.profile.sign_out_everywhere"}

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
def test_no_form_is_taken_without_its_own_token(site: Site, rule: Rule) -> None:
    for token in ({}, {"csrf_token": "wrong"}, {"csrf_token": f"x{site.token()}"}):
        answer = site.client.post(address(rule), data={"name": "x", **token})
        assert answer.status_code == 400
        assert "nothing was done" in answer.text or "sign in once more" in answer.text


@pytest.mark.parametrize("rule", named([rule for rule in RULES if "POST" in methods(rule)]))
@pytest.mark.parametrize("came_from", ["cross-site", "same-site"])
def test_no_form_of_another_site_is_taken_whatever_it_holds(
    site: Site, rule: Rule, came_from: str
) -> None:
    data, headers = {"csrf_token": site.token()}, {"Sec-Fetch-Site": came_from}
    answer = site.client.post(address(rule), data=data, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text


@pytest.mark.parametrize("rule", named(RULES))
def test_each_route_answers_exactly_whom_it_says(site: Site, rule: Rule) -> None:
    with site.client.application.app_context():
        needed = declared_access(rule.endpoint)
    for visitor in (None, "idled", "disabled", *Role):
        status = visit(site, rule, visitor)
        if needed == "public":
            assert status not in {403, 500}, visitor  # 401: a sign-in without a password
        elif visitor is None or not isinstance(visitor, Role):
            assert status == 303, visitor
        elif isinstance(needed, Role) and visitor.includes(needed):
            assert status not in {401, 403, 500}, visitor
        else:
            assert status == 403, visitor


def visit(site: Site, rule: Rule, visitor: Role | str | None) -> int:
    """Go there as somebody, with what a form of ours would send, and return the answer's status."""
    role = visitor if isinstance(visitor, Role) else Role.ADMIN
    site.sign_in(role)
    token = site.token()
    with site.database.write() as session:
        if visitor == "idled":
            session.execute(update(SignIn).values(seen_at=datetime.now(UTC) - sessions.IDLE))
        elif visitor == "disabled":
            session.execute(update(User).values(active=False))
    if visitor is None:
        site.client.delete_cookie(COOKIE)
    [method] = methods(rule)
    data = {"csrf_token": token} if method == "POST" else None
    answer = site.client.open(address(rule), method=method, data=data)
    if isinstance(visitor, Role):
        assert answer.location != "/login" or rule.endpoint in SIGNING_OUT
    status = answer.status_code
    answer.close()
    return status


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
