from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.services import tokens
from dashboard.storage.models import Role
from tests.web.site import HTMX, links, parse, words

if TYPE_CHECKING:
    from bs4 import Tag

    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def make(site: Site, *, name: str = "ci") -> Tag:
    answer = site.post("/tokens", name=name, role="operator", days="90")
    assert answer.status_code == 200, answer.text[:1000]
    assert answer.headers["Cache-Control"] == "no-store"
    return parse(answer)


def key_of(page: Tag) -> str:
    found = page.select_one("#new-key")
    assert found is not None
    return found.text


def test_a_token_is_made_and_shown_once(site: Site) -> None:
    assert "No tokens yet" in words(site.get("/tokens"))
    page = make(site)
    bearer = tokens.authenticate(site.database, key_of(page))
    assert bearer is not None
    assert (bearer.name, bearer.role) == ("token:ci", Role.OPERATOR)
    button = page.select_one("[data-copy=new-key]")
    assert button is not None
    later = site.get("/tokens")
    assert key_of(page) not in str(later)
    assert "ci works operator" in words(later, "#tokens")
    assert "in 89 d" in words(later, "#tokens")


def test_a_name_is_shown_as_it_is(site: Site) -> None:
    page = make(site, name="<b>ci</b> “x”")
    assert "<b>ci</b> “x”" in words(page, "#tokens")


@pytest.mark.parametrize(
    ("name", "role", "days", "said"),
    [
        ("", "viewer", "", "1 to 100 printable"),
        ("ci", "king", "", "viewer, operator, admin"),
        ("ci", "viewer", "7000", "30 days"),
        ("ci", "viewer", "x", "30 days"),
    ],
)
def test_what_is_wrong_stands_beside_the_form(
    site: Site, name: str, role: str, days: str, said: str
) -> None:
    answer = site.post("/tokens", name=name, role=role, days=days)
    assert answer.status_code == 422
    page = parse(answer)
    assert said in words(page, ".field-errors")
    assert page.select_one("#new-key") is None
    assert "No tokens yet" in words(page)


def test_a_name_that_is_taken_keeps_what_was_typed(site: Site) -> None:
    make(site)
    answer = site.post("/tokens", name="ci", role="admin", days="")
    assert answer.status_code == 409
    page = parse(answer)
    assert "There is a token “ci” already" in words(page, ".field-errors")
    chosen = page.select_one("#field-role option[selected]")
    assert chosen is not None
    assert chosen["value"] == "admin"


def test_a_token_is_revoked(site: Site) -> None:
    key = key_of(make(site))
    answer = site.post("/tokens/1/revoke", in_place=True)
    assert "is revoked" in answer.text
    assert answer.headers["HX-Trigger"] == "refresh-live"
    assert tokens.authenticate(site.database, key) is None
    assert "revoked" in words(site.get("/tokens"), "#tokens")
    assert site.post("/tokens/1/revoke").status_code == 303
    assert site.post("/tokens/99/revoke").status_code == 404


def test_the_list_looks_again_by_itself(site: Site) -> None:
    first = site.client.get("/tokens", headers=HTMX)
    assert parse(first).select_one("section#tokens") is not None
    headers = {**HTMX, "If-None-Match": first.headers["ETag"]}
    assert site.client.get("/tokens", headers=headers).status_code == 304


def test_only_admins_see_the_way_there(site: Site) -> None:
    assert links(site.get("/jobs"), "nav")["Tokens"] == "/tokens"
    site.sign_in(Role.OPERATOR)
    assert "Tokens" not in links(site.get("/jobs"), "nav")
    site.get("/tokens", status=403)
