"""Redraw docs/screenshots/ from the running product with its sample jobs.

A real dashboard is started in a temporary folder; some jobs are run, and pictures are taken once
the pages show it. Moments and durations differ from one drawing to the next, the rest does not.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import expect, sync_playwright

from tests.browser import find_browser
from tests.e2e.people import Colleague, sign_in
from tests.e2e.product import ROOT, running
from tests.e2e.screens import field

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page, Playwright, StorageState, ViewportSize

FOLDER = ROOT / "docs" / "screenshots"
DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
LARGEST = 250_000
PATIENCE = 120_000
"""Milliseconds to wait for a run to be where it looks best."""


@dataclass(frozen=True)
class Picture:
    """One file: what it shows, how to get there, and on what screen."""

    name: str
    show: Callable[[Page], None]
    scheme: Literal["light", "dark"] = "light"
    phone: bool = False


def show_now(page: Page) -> None:
    """Show what fails and what runs."""
    page.goto("/")
    expect(
        page.get_by_role("region", name="Failing").get_by_text("Payment gateway")
    ).to_be_visible()
    expect(page.get_by_role("region", name="Running").get_by_text("Import orders")).to_be_visible()


def show_jobs(page: Page) -> None:
    """Show the list of all jobs."""
    page.goto("/jobs")
    expect(page.get_by_role("link", name="Import orders")).to_be_visible()


def show_job(page: Page) -> None:
    """Show a job that fails now and then."""
    page.goto("/jobs/exchange-rates")
    expect(page.get_by_role("region", name="Durations")).to_contain_text("usually")


def show_run(page: Page) -> None:
    """Show a run in the middle of its work."""
    page.goto("/jobs/order-import")
    page.get_by_role("table", name="Runs of this job").get_by_role("link").first.click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text(re.compile("[2-4],[0-9]{3} of 5,000"), timeout=PATIENCE)
    expect(page.get_by_role("log").get_by_text("left out")).to_have_count(3)


def show_new_job(page: Page) -> None:
    """Show the form for a new job, filled in."""
    page.goto("/jobs/new")
    field(page, "Task").select_option("dashboard.report")
    expect(page.locator("#task-fields").get_by_role("spinbutton")).not_to_have_count(0)
    field(page, "Trigger").select_option(label="Cron")
    field(page, "Hour").fill("6")
    field(page, "Minute").fill("30")
    field(page, "Day of week").fill("mon-fri")
    field(page, "Time zone").fill("Europe/Berlin")
    expect(page.get_by_text("At 06:30 on weekdays")).to_be_visible()
    expect(page.get_by_text("CET").first).to_be_visible()
    field(page, "Time zone").blur()
    page.evaluate("scrollTo(0, 0)")


# What shows the import while it runs comes first; it ends within the minute.
PICTURES = (
    Picture("now", show_now),
    Picture("now-dark", show_now, "dark"),
    Picture("phone", show_now, phone=True),
    Picture("phone-dark", show_now, "dark", phone=True),
    Picture("run", show_run),
    Picture("run-dark", show_run, "dark"),
    Picture("jobs", show_jobs),
    Picture("job", show_job),
    Picture("job-dark", show_job, "dark"),
    Picture("new-job", show_new_job),
)


def main() -> None:
    """Draw every picture anew."""
    path = find_browser()
    if path is None:
        sys.exit("No browser is installed; `python -m scripts.system_packages` gets one.")
    FOLDER.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), "--demo", "--shutdown-grace=0") as product,
        sync_playwright() as playwright,
    ):
        cookies = sign_in(playwright, product.url)
        make_things_happen(playwright, product.url, cookies)
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        for picture in PICTURES:
            draw(browser, product.url, cookies, picture)
        browser.close()


def make_things_happen(playwright: Playwright, url: str, cookies: StorageState) -> None:
    """Run a job that fails, and one that takes its time."""
    with Colleague.at(playwright, url, cookies) as colleague:
        colleague.act("/jobs/order-import", "run")
        for _ in range(3):
            colleague.run("/jobs/payment-gateway", "failed")


def draw(browser: Browser, url: str, cookies: StorageState, picture: Picture) -> None:
    """Draw one picture, and tell how large its file is."""
    context = browser.new_context(
        base_url=url,
        storage_state=cookies,
        viewport=PHONE if picture.phone else DESK,
        color_scheme=picture.scheme,
        reduced_motion="reduce",
        device_scale_factor=2 if picture.phone else 1,
        locale="en-GB",
        timezone_id="Europe/Berlin",
    )
    page = context.new_page()
    picture.show(page)
    page.evaluate("document.fonts.ready")
    file = FOLDER / f"{picture.name}.png"
    page.screenshot(path=file, animations="disabled", caret="hide")
    context.close()
    size = file.stat().st_size
    print(f"{file.relative_to(ROOT)}: {size / 1000:,.0f} KB")
    if size > LARGEST:
        print(f"{file.name} is larger than {LARGEST / 1000:,.0f} KB", file=sys.stderr)


if __name__ == "__main__":
    main()
