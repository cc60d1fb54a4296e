"""Where things are on the screens, found as a person finds them: by role and label."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

MOST_TABS = 60
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def title(page: Page) -> Locator:
    """The page's one h1."""
    return page.get_by_role("heading", level=1)


def expect_page(page: Page, heading: str) -> None:
    """Wait for a page that somebody is led to, and until its scripts are there to do something."""
    expect(title(page)).to_have_text(heading)
    page.wait_for_load_state()


def field(page: Page | Locator, label: str) -> Locator:
    """A field by its whole label."""
    return page.get_by_label(label, exact=True)


def button(page: Page | Locator, name: str) -> Locator:
    """A button by its whole name."""
    return page.get_by_role("button", name=name, exact=True)


def runs(page: Page, state: str = "") -> Locator:
    """The rows of the runs on a job's page; `state` narrows them down."""
    table = page.get_by_role("table", name="Runs of this job")
    return table.get_by_role("row").filter(has=page.get_by_role("link")).filter(has_text=state)


def follow(link: Locator) -> None:
    """Click a link, and wait until the scripts of the page it leads to are there."""
    with link.page.expect_event("load"):
        link.click()


def open_form(page: Page) -> None:
    """Go to the form for a new job, by the way a person takes."""
    page.goto("/jobs")
    button(page, "New job").click()
    expect_page(page, "New job")


def previewed(page: Page) -> list[datetime]:
    """The fire times in the form's preview, as the clocks of the trigger's zone show them."""
    items = page.get_by_role("list", name="fire times").get_by_role("listitem")
    texts = items.all_inner_texts()
    return [datetime.fromisoformat(found[0]) for text in texts if (found := _MOMENT.search(text))]


def tab_to(wanted: Locator) -> None:
    """Press Tab until `wanted` has the focus, as somebody without a mouse would."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_TABS):
        wanted.page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{wanted} cannot be reached with {MOST_TABS} tabs")


def expect_job(page: Page, name: str) -> str:
    """Wait for the page of a job, and return its address."""
    expect_page(page, name)
    return urlsplit(page.url).path


def keep_mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.notReloaded = true")


def expect_mark(page: Page) -> None:
    """See that the page was not loaded again since."""
    assert page.evaluate("window.notReloaded === true"), "the page was loaded again"
