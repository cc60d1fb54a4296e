"""Signing in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.product import ADMIN, PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Page

signed_out = pytest.mark.browser_context_args(storage_state=None)


def sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@signed_out
def test_a_wrong_password_is_refused_and_the_right_one_leads_on(page: Page) -> None:
    page.goto("/jobs?q=nightly")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    sign_in(page, ADMIN, "not-the-password")
    expect(page.get_by_role("alert")).to_contain_text("password")
    expect(page.get_by_label("User name")).to_have_value(ADMIN)
    expect(page.get_by_label("Password")).to_have_value("")
    sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("nightly")


@signed_out
@pytest.mark.parametrize("name", [ADMIN, "nobody"])
def test_a_refusal_does_not_tell_whether_there_is_such_an_account(page: Page, name: str) -> None:
    page.goto("/login")
    sign_in(page, name, "not-the-password")
    expect(page.get_by_role("alert")).to_have_text("User name or password is wrong.")


@signed_out
def test_after_signing_out_nothing_is_left_to_see(page: Page) -> None:
    page.goto("/login")
    sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto("/jobs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


@pytest.mark.browser_context_args(storage_state=None, timezone_id="Asia/Tokyo")
def test_the_first_page_already_tells_the_time_of_the_browser(page: Page) -> None:
    page.goto("/system")
    sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("main").get_by_text("JST").first).to_be_visible()


def test_an_open_page_says_that_its_person_was_signed_out(page: Page) -> None:
    page.goto("/")
    page.context.clear_cookies()
    page.evaluate("document.dispatchEvent(new Event('refresh-live'))")
    expect(page.get_by_text("You are signed out. Sign in again to go on.")).to_have_count(1)
    expect(page.get_by_text("Signed out", exact=True)).to_be_visible()
