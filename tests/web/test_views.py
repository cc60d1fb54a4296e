"""Views that people keep of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.services import views
from dashboard.storage.models import Role
from tests.rows import make_job
from tests.web.site import Site, links, parse, words

if TYPE_CHECKING:
    from werkzeug.test import TestResponse


def save(site: Site, name: str, query: str, screen: str = "jobs") -> TestResponse:
    return site.post("/views", name=name, query=query, screen=screen)


def saved(site: Site, address: str = "/jobs") -> dict[str, str]:
    page = site.get(address)
    return (
        links(page, "[aria-label='Saved views']")
        if page.select("[aria-label='Saved views']")
        else {}
    )


def test_a_search_is_kept_under_a_name(site: Site) -> None:
    site.add(make_job("a"))
    page = site.get("/jobs?q=tag:billing+state:failing&sort=last&after=x")
    kept = page.select_one("form[action='/views'] [name=query]")
    assert kept is not None
    assert kept["value"] == "q=tag%3Abilling+state%3Afailing&sort=last"
    answer = save(site, " Billing <b> ", str(kept["value"]))
    assert answer.location == "/jobs?q=tag%3Abilling+state%3Afailing&sort=last"
    assert saved(site) == {"Billing <b>": "/jobs?q=tag%3Abilling+state%3Afailing&sort=last"}
    current = site.get(answer.location).select_one("[aria-label='Saved views'] [aria-current]")
    assert current is not None


def test_a_filter_of_runs_is_kept_with_all_its_states(site: Site) -> None:
    save(site, "Trouble", "state=failed&state=interrupted&since=24h&before=7&x=1", "runs")
    assert saved(site, "/runs") == {"Trouble": "/runs?state=failed&state=interrupted&since=24h"}
    assert saved(site) == {}


def test_the_same_name_replaces(site: Site) -> None:
    save(site, "Mine", "q=a")
    save(site, "Mine", "q=b")
    assert saved(site) == {"Mine": "/jobs?q=b"}


def test_each_person_has_their_own(site: Site) -> None:
    save(site, "Mine", "q=a")
    page = site.get("/jobs")
    remove = page.select_one("[aria-label='Remove the view Mine']")
    assert remove is not None
    site.sign_in(Role.VIEWER)
    assert saved(site) == {}
    assert site.post(str(remove["formaction"])).status_code == 404
    save(site, "Mine", "q=other")
    assert saved(site) == {"Mine": "/jobs?q=other"}


def test_a_view_is_removed(site: Site) -> None:
    save(site, "Mine", "q=a")
    remove = site.get("/jobs").select_one("[aria-label='Remove the view Mine']")
    assert remove is not None
    assert site.post(str(remove["formaction"])).status_code == 303
    assert saved(site) == {}
    assert site.post(str(remove["formaction"])).status_code == 404
    assert site.post(f"/views/{2**70}/remove").status_code == 404


@pytest.mark.parametrize(
    ("name", "query", "screen"),
    [
        ("", "q=a", "jobs"),
        ("  ", "q=a", "jobs"),
        ("x" * 61, "q=a", "jobs"),
        ("a\x00b", "q=a", "jobs"),
        ("a", "q=" + "x" * 2000, "jobs"),
        ("a", "q=a", "system"),
    ],
)
def test_what_cannot_be_kept_is_refused(site: Site, name: str, query: str, screen: str) -> None:
    assert save(site, name, query, screen).status_code == 422
    assert saved(site) == {}


def test_no_address_elsewhere_can_be_kept(site: Site) -> None:
    answer = save(site, "Evil", "//evil.example/?q=a&next=//evil.example")
    assert answer.location == "/jobs"
    assert saved(site) == {"Evil": "/jobs"}


def test_there_is_an_end_to_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "MOST", 1)
    save(site, "One", "q=1")
    answer = save(site, "Two", "q=2")
    assert answer.status_code == 409
    assert "Remove one first" in words(parse(answer))
    assert save(site, "One", "q=3").status_code == 303
