"""Keys that lead somewhere, and rest while somebody types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.screens import expect_page, title

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_keys_lead_to_screens_and_tell_of_themselves(page: Page) -> None:
    page.goto("/")
    for keys, screen in (("gr", "Runs"), ("gj", "Jobs")):
        for key in keys:
            page.keyboard.press(key)
        expect_page(page, screen)
    page.keyboard.press("?")
    help_dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help_dialog).to_contain_text("Go to Runs")
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(title(page)).to_have_text("Jobs")
    page.keyboard.press("Escape")
    expect(help_dialog).to_be_hidden()


def test_keys_rest_while_somebody_types(page: Page) -> None:
    page.goto("/jobs")
    page.keyboard.press("/")
    page.keyboard.type("gr?")
    search = page.get_by_role("searchbox", name="Search")
    expect(search).to_have_value("gr?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(title(page)).to_have_text("Jobs")
