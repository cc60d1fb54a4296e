"""Signing in and out, and how long that lasts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from sqlalchemy import select

from dashboard.services import accounts, audit, sessions, signin
from dashboard.settings import load_settings
from dashboard.storage.models import Role, SignIn
from dashboard.web import init_web
from dashboard.web.access import COOKIE
from dashboard.web.state import DashboardState
from tests.factories import ADMIN
from tests.web.site import HTMX, parse, words

if TYPE_CHECKING:
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from dashboard.storage.db import Database
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

PASSWORD = "correct horse battery"


@pytest.fixture
def stranger(site: Site) -> FlaskClient:
    """A browser that nobody has signed in with, of a site where ann has an account."""
    with audit.transaction(site.database) as session:
        accounts.add_user(session, "ann", PASSWORD, Role.OPERATOR, actor=ADMIN)
    return site.client.application.test_client()


def sign_in(
    browser: FlaskClient, name: str = "ann", password: str = PASSWORD, **fields: str
) -> TestResponse:
    token = parse(browser.get("/login")).select_one("[name=csrf_token]")
    assert token is not None
    data = {"csrf_token": str(token["value"]), "name": name, "password": password, **fields}
    return browser.post("/login", data=data)


def test_the_right_password_opens_the_pages(stranger: FlaskClient) -> None:
    answer = sign_in(stranger)
    assert (answer.status_code, answer.location) == (303, "/")
    page = parse(stranger.get("/"))
    assert "ann" in words(page, ".person")
    assert stranger.get("/login").location == "/"


def test_a_wrong_password_is_told_and_the_name_kept(stranger: FlaskClient) -> None:
    answer = sign_in(stranger, password="guess")
    page = parse(answer)
    assert answer.status_code == 401
    assert "wrong" in words(page, "[role=alert]")
    assert page.select_one("[name=name]")["value"] == "ann"  # type: ignore[index]
    assert stranger.get("/").status_code == 303


def test_guessing_is_stopped(stranger: FlaskClient) -> None:
    for _ in range(signin.FAILURES):
        assert sign_in(stranger, password="guess").status_code == 401
    answer = sign_in(stranger)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 800
    assert "Too many failed attempts" in words(parse(answer), "[role=alert]")


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("/jobs?q=state:failing", "/jobs?q=state:failing"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("jobs", "/"),
    ],
)
def test_one_goes_on_to_a_page_of_this_site(stranger: FlaskClient, wanted: str, got: str) -> None:
    assert sign_in(stranger, next=wanted).location == got


def test_the_page_that_was_asked_for_comes_after_signing_in(stranger: FlaskClient) -> None:
    asked = stranger.get("/jobs?sort=next")
    form = parse(stranger.get(asked.location))
    wanted = form.select_one("[name=next]")
    assert wanted is not None
    assert wanted["value"] == "/jobs?sort=next"


def test_signing_out_ends_it(stranger: FlaskClient) -> None:
    sign_in(stranger)
    token = parse(stranger.get("/")).select_one("#csrf-token")
    assert token is not None
    assert stranger.get("/logout").status_code == 405
    answer = stranger.post("/logout", data={"csrf_token": str(token["content"])})
    assert (answer.status_code, answer.location) == (303, "/login")
    assert stranger.get("/").status_code == 303


def test_a_stolen_cookie_is_worth_nothing_after_signing_out(stranger: FlaskClient) -> None:
    sign_in(stranger)
    stolen = stranger.get_cookie(COOKIE)
    token = parse(stranger.get("/")).select_one("#csrf-token")
    assert stolen is not None
    assert token is not None
    stranger.post("/logout", data={"csrf_token": str(token["content"])})
    assert stranger.get_cookie(COOKIE) is None
    thief = stranger.application.test_client()
    thief.set_cookie(COOKIE, stolen.value)
    assert thief.get("/").status_code == 303


def test_signing_in_again_takes_nothing_over(stranger: FlaskClient) -> None:
    stranger.get("/login")
    with stranger.session_transaction() as session:
        before = session["csrf_token"]
    sign_in(stranger)
    first = stranger.get_cookie(COOKIE)
    stranger.get("/")
    with stranger.session_transaction() as session:
        assert session["csrf_token"] != before
    assert first is not None
    page = parse(stranger.get("/")).select_one("#csrf-token")
    assert page is not None
    stranger.post(
        "/login",
        data={"csrf_token": str(page["content"]), "name": "ann", "password": PASSWORD},
    )
    second = stranger.get_cookie(COOKIE)
    assert second is not None
    assert second.value != first.value
    thief = stranger.application.test_client()
    thief.set_cookie(COOKIE, first.value)
    assert thief.get("/").status_code == 303


def test_who_asks_for_it_is_remembered(site: Site, stranger: FlaskClient) -> None:
    header = sign_in(stranger).headers.getlist("Set-Cookie")
    assert not any("Max-Age" in cookie for cookie in header if cookie.startswith(COOKIE))
    header = sign_in(site.client.application.test_client(), remember="on").headers.getlist(
        "Set-Cookie"
    )
    [cookie] = [cookie for cookie in header if cookie.startswith(COOKIE)]
    assert f"Max-Age={30 * 24 * 3600}" in cookie
    with site.database.read() as session:
        assert session.scalars(select(SignIn.remembered).order_by(SignIn.began_at)).all()[-2:] == [
            False,
            True,
        ]


@pytest.mark.parametrize("change", ["disable", "password"])
def test_an_account_that_changed_is_out_at_once(
    site: Site, stranger: FlaskClient, change: str
) -> None:
    sign_in(stranger)
    with audit.transaction(site.database) as session:
        if change == "disable":
            accounts.disable_user(session, "ann", actor=ADMIN)
        else:
            accounts.set_password(session, "ann", PASSWORD + "!", actor=ADMIN)
    assert stranger.get("/").status_code == 303


def test_people_keep_a_sign_in_alive_and_updates_do_not(site: Site, stranger: FlaskClient) -> None:
    sign_in(stranger)
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def last() -> SignIn:
        with site.database.read() as session:
            return session.scalars(select(SignIn).order_by(SignIn.id.desc())).first()  # type: ignore[return-value]

    with site.database.write() as session:
        session.get_one(SignIn, last().id).seen_at = long_ago
    stranger.get("/", headers={**HTMX, "If-None-Match": 'W/"x"'}, buffered=True)
    assert last().seen_at == long_ago
    stranger.get("/", buffered=True)
    assert last().seen_at > long_ago


def test_a_sign_in_that_idled_is_over(site: Site, stranger: FlaskClient) -> None:
    sign_in(stranger)
    with site.database.write() as session:
        for row in session.scalars(select(SignIn)):
            row.seen_at -= sessions.IDLE
    assert stranger.get("/").status_code == 303


def test_a_cookie_made_by_somebody_else_is_nobody(stranger: FlaskClient) -> None:
    sign_in(stranger)
    cookie = stranger.get_cookie(COOKIE)
    assert cookie is not None
    stranger.set_cookie(COOKIE, cookie.value[:-3] + "abc")
    assert stranger.get("/").status_code == 303


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [("", "dashboard", False), ("https://jobs.example", "__Host-dashboard", True)],
)
def test_cookies_are_strict(
    database: Database, tmp_path: Path, public_url: str, name: str, secure: bool
) -> None:
    app = Flask("strict", static_folder=None)
    app.secret_key = "k" * 32
    settings = load_settings(data=tmp_path, public_url=public_url, allowed_hosts="jobs.example")
    init_web(app, DashboardState(settings, database, wake=lambda: None), own_app=True)
    header = app.test_client().get("/login", base_url="https://jobs.example").headers["Set-Cookie"]
    assert header.startswith(f"{name}=")
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; "))
    assert ("Secure" in header.split("; ")) is secure
    assert "Domain" not in header


# -- forms that were open for too long -------------------------------------------------------------


def test_an_old_sign_in_form_is_shown_again(stranger: FlaskClient) -> None:
    answer = stranger.post("/login", data={"csrf_token": "old", "name": "ann", "password": "x"})
    page = parse(answer)
    assert answer.status_code == 400
    assert "sign in once more" in words(page, "[role=alert]")
    assert page.select_one("[name=name]")["value"] == "ann"  # type: ignore[index]
    assert PASSWORD not in answer.text


def test_what_an_old_form_holds_can_be_sent_again(site: Site) -> None:
    answer = site.client.post(
        "/jobs/nightly/pause",
        data={"csrf_token": "old", "reason": "new <credentials>"},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    form = parse(answer).select_one("form[action='/jobs/nightly/pause']")
    assert answer.status_code == 400
    assert form is not None
    kept = {field["name"]: field["value"] for field in form.select("input")}
    assert kept["reason"] == "new <credentials>"
    assert kept["csrf_token"] != "old"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 400),
        ({}, 400),
    ],
)
def test_a_form_of_another_site_is_not_offered_again(
    site: Site, headers: dict[str, str], status: int
) -> None:
    answer = site.client.post("/jobs/nightly/pause", data={"reason": "x"}, headers=headers)
    assert answer.status_code == status
    assert parse(answer).select_one("main form") is None


def test_another_site_is_refused_whatever_it_knows(site: Site) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    data = {"csrf_token": site.token()}
    assert site.client.post("/jobs/nightly/pause", data=data, headers=headers).status_code == 403
    assert site.client.post("/login", data=data, headers=headers).status_code == 403


def test_in_place_an_old_page_gets_a_new_token(site: Site) -> None:
    answer = site.client.post("/jobs/nightly/pause", headers={**HTMX, "X-CSRFToken": "old"})
    assert answer.status_code == 400
    assert "once more" in answer.text
    fresh = re.search(r'id="csrf-token" content="([^"]+)"', answer.text)
    assert fresh is not None
    again = site.client.post("/jobs/nightly/pause", headers={**HTMX, "X-CSRFToken": fresh[1]})
    assert again.status_code == 404  # there is no such job, but the token is good


def test_the_theme_is_kept_in_a_cookie(stranger: FlaskClient) -> None:
    token = parse(stranger.get("/login")).select_one("[name=csrf_token]")
    assert token is not None
    assert "data-bs-theme" not in parse(stranger.get("/login")).html.attrs  # type: ignore[union-attr]
    stranger.post("/theme", data={"csrf_token": str(token["value"]), "theme": "dark"})
    assert parse(stranger.get("/login")).html["data-bs-theme"] == "dark"  # type: ignore[index]
    stranger.post("/theme", data={"csrf_token": str(token["value"]), "theme": "auto"})
    assert stranger.get_cookie("theme") is None
