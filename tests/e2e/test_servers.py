"""Dashboards that are new, in trouble, stopped, or not alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OPTIONS
from tests.e2e.product import running
from tests.e2e.screens import button, runs, title
from tests.factories import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.conftest import Watch
    from tests.e2e.people import Colleague
    from tests.e2e.product import Product

OWN_TITLE = "APScheduler Dashboard"


@pytest.mark.usefixtures("own_product")
def test_a_new_dashboard_leads_to_the_first_job(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_title(f"Now · {OWN_TITLE}")
    expect(page.get_by_text("All clear")).to_be_visible()
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    page.get_by_role("link", name="Add the first job").click()
    expect(title(page)).to_have_text("New job")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_text("Nothing has run yet")).to_be_visible()
    page.get_by_role("link", name="System", exact=True).click()
    expect(page.get_by_role("region", name="Tasks")).to_contain_text("tests.greet")


@pytest.mark.usefixtures("own_product")
def test_the_title_of_every_tab_counts_the_problems(
    page: Page, colleague: Colleague, job_name: str, tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted"
    job = colleague.add(job_name, "tests.look", **{"parameters.path": str(wanted)})
    page.goto("/")
    other = page.context.new_page()
    other.goto("/system")
    expect(other).to_have_title(f"System · {OWN_TITLE}")

    colleague.run(job, "failed")
    expect(page).to_have_title(f"(1) Now · {OWN_TITLE}")
    expect(other).to_have_title(f"(1) System · {OWN_TITLE}")
    failing = page.get_by_role("region", name="Failing")
    expect(failing.get_by_role("link", name=job_name)).to_be_visible()
    expect(failing).to_contain_text("FileNotFoundError")
    expect(failing).to_contain_text("1 failure")

    wanted.touch()
    button(failing, "Run now").click()
    expect(page.get_by_text("All clear")).to_be_visible()
    other.reload()
    expect(other).to_have_title(f"System · {OWN_TITLE}")


def test_a_page_says_that_its_server_is_gone(
    page: Page, colleague: Colleague, job_name: str, own_product: Product, watch: Watch
) -> None:
    watch.expected.append("net::ERR_|Failed to fetch")  # refused, or cut off while it stops
    colleague.add(job_name)
    page.goto("/jobs")
    expect(page.get_by_text("Not updating")).to_be_hidden()
    assert own_product.stop() == 0
    expect(page.get_by_text("Not updating")).to_be_visible()
    button(page, "Run now").click()
    expect(page.get_by_text("No answer from the server")).to_be_visible()
    expect(page.get_by_role("link", name=job_name)).to_be_visible()

    port = own_product.url.rpartition(":")[2]
    with running(own_product.data, *OPTIONS, f"--port={port}"):
        page.get_by_text("Not updating").click()
        expect(page.get_by_text("Not updating")).to_be_hidden()
        expect(page.get_by_role("link", name=job_name)).to_be_visible()


def test_a_second_dashboard_stands_by_and_takes_over(
    page: Page, colleague: Colleague, job_name: str, own_product: Product
) -> None:
    job = colleague.add(job_name)
    with running(own_product.data, *OPTIONS) as second:
        page.goto(second.url + job)
        expect(page.get_by_text("This process is on standby")).to_be_visible()
        expect(page.get_by_role("link", name="Standby")).to_be_visible()
        button(page, "Run now").click()
        button(page.get_by_role("dialog"), "Run now").click()
        expect(runs(page, "succeeded")).to_have_count(1)

        assert own_product.stop() == 0
        wait_until(lambda: "leading from now on" in second.said)
        page.reload()
        expect(page.get_by_role("link", name="Scheduler running")).to_be_visible()
        expect(page.get_by_text("This process is on standby")).to_be_hidden()
        button(page, "Run now").click()
        button(page.get_by_role("dialog"), "Run now").click()
        expect(runs(page, "succeeded")).to_have_count(2)
        page.close()  # else it asks on while the server stops
