"""Pages that are left open: they follow what happens and keep what a person is in the middle of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

from tests.e2e.screens import button, expect_mark, field, follow, keep_mark, runs, title

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.people import Colleague
    from tests.e2e.product import Product


@pytest.fixture
def stages(page: Page, colleague: Colleague, job_name: str, tmp_path: Path) -> Path:
    """A folder: the run on the page goes on whenever a file of the stage's name is put into it."""
    job = colleague.add(job_name, "tests.stages", **{"parameters.folder": str(tmp_path)})
    colleague.act(job, "run")
    page.goto(job)
    follow(runs(page).get_by_role("link").first)
    expect(title(page)).to_contain_text(job_name)
    return tmp_path


def test_a_running_task_is_followed_live(page: Page, stages: Path) -> None:
    keep_mark(page)
    log = page.get_by_role("log")
    steps = page.get_by_role("region", name="Steps").get_by_role("listitem")
    progress = page.get_by_role("region", name="Progress")
    expect(steps).to_have_text([re.compile(r"running\s+fetch")])
    expect(progress).to_contain_text("0 of 3")
    expect(progress).to_contain_text("about to fetch")
    expect(log).not_to_contain_text("is done")

    (stages / "fetch").touch()
    expect(log).to_contain_text("fetch is done")
    expect(steps).to_have_text([re.compile(r"succeeded\s+fetch"), re.compile(r"running\s+convert")])
    expect(progress).to_contain_text("33 %")

    (stages / "convert").touch()
    (stages / "publish").touch()
    expect(log).to_contain_text("publish is done")
    expect(log).to_contain_text("End of the log")
    expect(steps).to_have_count(3)
    expect(progress).to_be_hidden()
    expect(page.get_by_role("region", name="Result")).to_contain_text("all three")
    expect_mark(page)


def test_searching_a_growing_log_keeps_what_is_typed(page: Page, stages: Path) -> None:
    search = page.get_by_role("searchbox", name="Search in the log")
    log = page.get_by_role("log")
    search.press_sequentially("conv")
    (stages / "fetch").touch()
    (stages / "convert").touch()
    expect(log).to_contain_text("convert is done")
    expect(log).not_to_contain_text("fetch is done")
    search.press_sequentially("ert")
    expect(search).to_have_value("convert")
    expect(search).to_be_focused()
    (stages / "publish").touch()
    expect(page.get_by_role("region", name="Result")).to_be_visible()


def test_an_open_dialog_outlives_updates(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name)
    page.goto(job)
    button(page, "Pause").click()
    dialog = page.get_by_role("dialog", name="Pause")
    field(dialog, "Reason").press_sequentially("because of")
    colleague.act(job, "run")
    expect(runs(page, "succeeded")).to_have_count(1)
    expect(dialog).to_be_visible()
    field(dialog, "Reason").press_sequentially(" the holidays")
    expect(field(dialog, "Reason")).to_have_value("because of the holidays")
    button(dialog, "Pause").click()
    expect(page.get_by_text("because of the holidays").first).to_be_visible()


def test_a_focused_field_outlives_updates(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name)
    page.goto("/jobs")
    search = page.get_by_role("searchbox", name="Search")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=job_name))
    search.press_sequentially(job_name)
    expect(page.get_by_role("row")).to_have_count(2)
    colleague.act(job, "pause")
    expect(row.get_by_role("cell", name="paused", exact=True)).to_be_visible()
    expect(search).to_be_focused()
    search.press_sequentially(" no such job")
    expect(search).to_have_value(f"{job_name} no such job")
    expect(page.get_by_text("No job matches")).to_be_visible()


def test_opened_details_stay_open(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name)
    colleague.act(job, "run")
    page.goto(job)
    expect(runs(page, "succeeded")).to_have_count(1)
    page.get_by_text("as a table").click()
    table = page.get_by_role("region", name="Durations as a table")
    expect(table.get_by_role("row")).to_have_count(2)
    colleague.act(job, "run")
    expect(table.get_by_role("row")).to_have_count(3)


def test_going_back_shows_whole_pages(page: Page, colleague: Colleague, job_name: str) -> None:
    colleague.add(job_name)
    page.goto("/jobs")
    navigation = page.get_by_role("navigation", name="Main")
    page.get_by_role("searchbox", name="Search").fill(job_name)
    expect(page).to_have_url(re.compile(r"\?q="))
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name=job_name).click()
    expect(title(page)).to_have_text(job_name)
    page.get_by_role("link", name="Edit").click()
    expect(title(page)).to_contain_text("Edit")

    page.go_back()
    expect(title(page)).to_have_text(job_name)
    expect(navigation).to_be_visible()
    page.go_back()
    expect(title(page)).to_have_text("Jobs")
    expect(navigation).to_be_visible()
    expect(page.get_by_role("searchbox", name="Search")).to_have_value(job_name)
    expect(page.get_by_role("row")).to_have_count(2)
    page.go_forward()
    expect(title(page)).to_have_text(job_name)
    expect(navigation).to_be_visible()


def test_going_back_undoes_what_was_loaded_in_place(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    job = colleague.add(job_name, max_instances="30")
    for _ in range(21):
        colleague.act(job, "run")
    page.goto(job)
    keep_mark(page)
    expect(runs(page, "succeeded")).to_have_count(20)
    page.get_by_role("link", name="Older runs").click()
    expect(runs(page)).to_have_count(21)
    expect_mark(page)
    page.go_back()
    expect(runs(page)).to_have_count(20)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.go_forward()
    expect(runs(page)).to_have_count(21)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_a_run_that_never_stops_talking_is_cut_and_disturbs_nobody(
    page: Page, colleague: Colleague, product: Product, job_name: str
) -> None:
    """200,000 lines, while 20 other runs write theirs."""
    others = colleague.add(f"{job_name} too", max_instances="20", **{"parameters.times": "300"})
    talker = colleague.add(job_name, **{"parameters.times": "200000"})
    server = psutil.Process(product.process.pid)
    before = server.memory_info().rss
    colleague.act(talker, "run")
    for _ in range(20):
        colleague.act(others, "run")
    page.goto(talker)
    follow(runs(page).get_by_role("link").first)
    log = page.get_by_role("log")
    field(page, "Level").select_option("Warnings and errors")
    expect(log).to_contain_text("190,000 more lines were beyond the limit")
    field(page, "Level").select_option("All levels")
    expect(log).to_contain_text("Hello, world!")
    assert len(written(page, page.url)) == 10_001
    assert server.memory_info().rss - before < 100 * 2**20
    page.goto(others)
    expect(runs(page, "succeeded")).to_have_count(20)
    links = [row.get_by_role("link").first for row in runs(page).all()]
    assert [len(written(page, str(link.get_attribute("href")))) for link in links] == [300] * 20


def written(page: Page, run: str) -> list[str]:
    """The lines of a run, as its file has them."""
    return page.request.get(f"{run}/log?download=1").text().splitlines()
