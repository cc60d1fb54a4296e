"""What every answer carries: headers, tags, toasts; and what errors look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from flask import Flask, abort

from dashboard.errors import FieldError, Invalid
from dashboard.storage.models import Role
from dashboard.web import LARGEST_REQUEST, POLICY, init_web
from dashboard.web.assets import asset
from dashboard.web.state import DashboardState
from tests.rows import make_job
from tests.web.site import HTMX, parse, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.settings import Settings
    from dashboard.storage.db import Database
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def replace(site: Site, endpoint: str, view: Callable[..., object]) -> None:
    """Let a route do something else, under the same conditions."""
    views: dict[str, Any] = site.client.application.view_functions
    vars(view)["dashboard_access"] = views[endpoint].dashboard_access
    views[endpoint] = view


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/", "/jobs", "/login", "/healthz", "/nowhere", "/favicon.svg"])
def test_every_answer_tells_browsers_to_be_strict(site: Site, url: str) -> None:
    headers = site.client.get(url).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


def test_pages_are_not_kept_by_caches(site: Site) -> None:
    page = site.client.get("/")
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert {"HX-Request", "Cookie"} <= set(page.vary)
    stranger = site.client.application.test_client()
    assert stranger.get("/login").headers["Cache-Control"] == "no-store"


def test_static_files_are_kept_for_ever_under_an_address_that_names_their_content(
    site: Site,
) -> None:
    with site.client.application.test_request_context():
        address = asset("app.css")
    assert "v=" in address
    answer = site.client.get(address, headers={"Accept-Encoding": "br"}, buffered=True)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "br"
    font = site.client.get("/static/vendor/inter-latin.woff2", buffered=True)
    assert font.headers["Cache-Control"] == "public, max-age=86400"


def test_pages_are_compressed(site: Site) -> None:
    page = site.client.get("/jobs", headers={"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in page.vary


# -- live regions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/", "/jobs?q=nightly", "/system", "/system/pulse"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_a_poll_is_answered_only_when_something_changed(
    site: Site, url: str, encoding: str
) -> None:
    headers = {**HTMX, "Accept-Encoding": encoding}
    first = site.client.get(url, headers=headers)
    etag = first.headers["ETag"]
    assert etag.startswith('W/"')
    unchanged = site.client.get(url, headers={**headers, "If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    assert unchanged.headers["ETag"] == etag
    site.add(make_job())
    changed = site.client.get(url, headers={**headers, "If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_the_region_names_the_tag_it_was_made_with(site: Site) -> None:
    answer = site.client.get("/jobs", headers=HTMX)
    region = parse(answer).select_one("#jobs")
    assert region is not None
    assert answer.headers["ETag"] == f'W/"{region["data-etag"]}"'
    assert answer.text.lstrip().startswith("<div"), "a partial has one root and no frame"
    page = site.get("/jobs").select_one("#jobs")
    assert page is not None
    assert page["hx-get"] == "/jobs"


def test_people_with_different_roles_share_no_tag(site: Site) -> None:
    admins = site.client.get("/jobs", headers=HTMX).headers["ETag"]
    site.sign_in(Role.VIEWER)
    assert site.client.get("/jobs", headers=HTMX).headers["ETag"] != admins


def test_back_and_boosted_links_get_whole_pages(site: Site) -> None:
    for header in ("HX-History-Restore-Request", "HX-Boosted"):
        answer = site.client.get("/jobs", headers={**HTMX, header: "true"})
        assert answer.text.lstrip().startswith("<!doctype html>")


# -- answers to actions ----------------------------------------------------------------------------


def test_an_action_comes_back_to_its_page_with_a_toast(site: Site) -> None:
    site.add(make_job())
    headers = {"Referer": "http://localhost/jobs?q=nightly&sort=next"}
    data = {"csrf_token": site.token()}
    answer = site.client.post("/jobs/nightly/pause", data=data, headers=headers)
    assert (answer.status_code, answer.location) == (303, "/jobs?q=nightly&sort=next")
    assert "paused" in words(site.get(answer.location), "#toasts")
    assert words(site.get("/jobs"), "#toasts") == "", "a toast is shown once"


@pytest.mark.parametrize(
    "referrer", ["http://evil.example/jobs", "http://localhost//evil.example", ""]
)
def test_an_action_never_leads_elsewhere(site: Site, referrer: str) -> None:
    site.add(make_job())
    data = {"csrf_token": site.token()}
    answer = site.client.post("/jobs/nightly/pause", data=data, headers={"Referer": referrer})
    assert answer.location == "/jobs/nightly"


def test_in_place_an_action_answers_with_a_toast_and_all_regions_look_again(site: Site) -> None:
    site.add(make_job())
    answer = site.post("/jobs/nightly/pause", in_place=True)
    assert answer.status_code == 200
    assert answer.headers["HX-Trigger"] == "refresh-live"
    assert 'hx-target="#toasts"' in answer.text
    assert "paused" in answer.text


# -- errors ----------------------------------------------------------------------------------------


def test_a_page_that_is_not_there(site: Site) -> None:
    page = site.get("/nowhere", status=404)
    assert "There is no page at this address" in words(page)
    assert "There is no job “x<y”" in words(site.get("/jobs/x<y", status=404))


def test_an_action_is_not_a_page(site: Site) -> None:
    answer = site.client.get("/logout")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert "actions are buttons" in answer.text


def test_too_much_is_refused(site: Site) -> None:
    data = {"csrf_token": site.token(), "reason": "x" * (LARGEST_REQUEST + 1)}
    answer = site.client.post("/jobs/nightly/pause", data=data)
    assert answer.status_code == 413
    assert "more than the server accepts" in answer.text


def test_a_fault_of_ours_is_admitted_and_shows_no_secrets(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("password=hunter2")

    replace(site, "dashboard.now.show", fail)
    site.client.application.testing = False
    answer = site.client.get("/")
    assert answer.status_code == 500
    assert "fault of the dashboard" in answer.text
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text
    in_place = site.client.get("/", headers=HTMX)
    assert in_place.status_code == 500
    assert in_place.headers["HX-Reswap"] == "none"


def test_a_refusal_is_told_in_its_own_words(site: Site) -> None:
    def refuse() -> None:
        raise Invalid([FieldError("name", "Give it <a> name."), FieldError("day", "Which day?")])

    replace(site, "dashboard.now.show", refuse)
    page = site.get("/", status=422)
    assert "Give it <a> name. Which day?" in words(page)
    in_place = site.client.get("/", headers=HTMX)
    assert in_place.headers["HX-Reswap"] == "none"
    assert in_place.text.count('hx-target="#toasts"') == 2


# -- inside another app ----------------------------------------------------------------------------


@pytest.fixture
def host(database: Database, settings: Settings) -> Flask:
    """An app of somebody else with the dashboard under a prefix."""
    app = Flask("host")
    app.secret_key = "h" * 32

    @app.get("/")
    def home() -> str:
        return "the host's own page"

    @app.post("/orders")
    def order() -> str:
        return "ordered"

    @app.get("/teapot")
    def teapot() -> NoReturn:
        abort(418)

    state = DashboardState(settings=settings, database=database, wake=lambda: None)
    init_web(app, state, prefix="/ops/jobs")
    return app


def test_a_host_keeps_its_own_ways(host: Flask) -> None:
    browser = host.test_client()
    home = browser.get("/")
    assert home.text == "the host's own page"
    assert "Content-Security-Policy" not in home.headers
    assert browser.post("/orders").text == "ordered"
    assert "APScheduler" not in browser.get("/teapot").text
    assert "APScheduler" not in browser.get("/nowhere").text
    assert host.config["SESSION_COOKIE_NAME"] == "session"
    assert set(host.jinja_env.globals) == set(Flask("plain").jinja_env.globals)


def test_inside_a_host_everything_lies_under_the_prefix(host: Flask) -> None:
    browser = host.test_client()
    assert browser.get("/ops/jobs/").location == "/ops/jobs/login?next=/ops/jobs/"
    page = parse(browser.get("/ops/jobs/login"))
    addresses = [str(each["href"]) for each in page.select("link[href]")]
    addresses += [str(each["src"]) for each in page.select("[src]")]
    addresses += [str(each["action"]) for each in page.select("form")]
    assert addresses
    assert all(address.startswith("/ops/jobs/") for address in addresses)
    assert browser.get(addresses[0], buffered=True).status_code == 200


def test_dashboards_of_one_process_each_lead_to_their_own_pages(
    database: Database, settings: Settings
) -> None:
    with database.write() as session:
        session.add(make_job("broken", broken_reason="Its task is gone."))
    for prefix in ("/first", "/second"):
        app = Flask("host")
        app.secret_key = "h" * 32
        state = DashboardState(
            settings=settings, database=database, wake=lambda: None, user=lambda: ("lea", "admin")
        )
        init_web(app, state, prefix=prefix)
        for path in ("/", "/jobs", "/runs", "/errors"):
            page = parse(app.test_client().get(f"{prefix}{path}"))
            addresses = [str(each["href"]) for each in page.select("a[href^='/'], link[href^='/']")]
            addresses += [str(each["formaction"]) for each in page.select("[formaction]")]
            assert [each for each in addresses if not each.startswith(f"{prefix}/")] == []
            assert len(addresses) > 10
