"""The same things with JavaScript off: every button is a form, every view an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.screens import button, expect_job, field, open_form, previewed, runs, title
from tests.factories import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.people import Colleague

pytestmark = pytest.mark.browser_context_args(java_script_enabled=False)


def reload_until(page: Page, state: str) -> None:
    """Load the page of a job again until it lists a run in `state`."""

    def seen() -> bool:
        page.reload()
        return runs(page, state).count() > 0

    wait_until(seen)


def test_a_phone_has_room_for_some_places_and_a_menu_for_the_others(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/")
    places = page.get_by_role("navigation", name="Main")
    expect(places.get_by_role("link")).to_have_count(4)
    button(places, "More").click()
    places.get_by_role("link", name="System", exact=True).click()
    expect(title(page)).to_have_text("System")
    expect(places.get_by_role("link")).to_have_count(4)


def test_a_job_is_added_previewed_and_run(page: Page, colleague: Colleague, job_name: str) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    field(page, "Trigger").select_option(label="Crontab")
    button(page, "Show fields").click()
    field(page, "Who").fill("Ada")
    field(page, "Crontab").fill("0 9 * * 1")
    field(page, "Name").fill(job_name)
    button(page, "Preview").click()
    expect(page.get_by_text("At 09:00 on Mondays")).to_be_visible()
    assert len(previewed(page)) == 10
    expect(field(page, "Who")).to_have_value("Ada")
    button(page, "Create job").click()
    colleague.added.append(expect_job(page, job_name))
    expect(page.get_by_text("Created")).to_be_visible()

    button(page, "Run now").click()
    expect(page.get_by_text("The schedule is not changed")).to_be_visible()
    button(page, "Run now").click()
    expect(title(page)).to_have_text(job_name)
    reload_until(page, "succeeded")
    runs(page, "succeeded").get_by_role("link").first.click()
    expect(page.get_by_role("log")).to_contain_text("Hello, Ada!")


def test_an_interval_job_runs_by_itself(page: Page, colleague: Colleague, job_name: str) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    field(page, "Every").fill("1")
    field(page, "Unit").select_option("seconds")
    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    colleague.added.append(expect_job(page, job_name))
    reload_until(page, "succeeded")


def test_bad_input_is_named_and_kept(page: Page, job_name: str) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    field(page, "Time zone").fill("Europe/Atlantis")
    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    expect(page.get_by_role("group", name="to put right")).to_be_visible()
    expect(field(page, "Time zone")).to_have_attribute("aria-invalid", "true")
    expect(field(page, "Time zone")).to_have_value("Europe/Atlantis")
    expect(field(page, "Name")).to_have_value(job_name)


def test_a_job_is_paused_resumed_and_removed(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name))
    button(page, "Pause").click()
    field(page, "Reason").fill("no scripts here")
    button(page, "Pause").click()
    expect(title(page)).to_have_text(job_name)
    expect(page.get_by_text("no scripts here").first).to_be_visible()
    button(page, "Resume").click()
    expect(button(page, "Resume")).to_have_count(0)
    button(page, "Remove").click()
    expect(page.get_by_text("Its runs stay")).to_be_visible()
    button(page, "Remove").click()
    expect(title(page)).to_have_text("Jobs")
    expect(page.get_by_text("is removed")).to_be_visible()
    expect(page.get_by_role("link", name=job_name)).to_have_count(0)


def test_jobs_are_searched_and_paused_in_the_list(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    colleague.add(job_name)
    page.goto("/jobs")
    field(page, "Search").fill(job_name)
    button(page, "Search").click()
    expect(page.get_by_role("row")).to_have_count(2)
    button(page, "Pause").click()
    field(page, "Until").select_option("4 hours from now")
    button(page, "Pause").click()
    expect(title(page)).to_have_text(job_name)
    expect(page.get_by_text("It resumes by itself")).to_be_visible()


def test_jobs_are_exported_changed_and_imported_again(
    page: Page, colleague: Colleague, job_name: str, tmp_path: Path
) -> None:
    colleague.add(job_name)
    page.goto(f"/jobs?q={job_name}")
    with page.expect_download() as started:
        page.get_by_role("link", name="Export", exact=True).click()
    text = started.value.path().read_text(encoding="utf-8")
    file = tmp_path / "jobs.yaml"
    file.write_text(text.replace("hours: 1\n", "hours: 6\n"), encoding="utf-8")

    page.get_by_role("link", name="Import", exact=True).click()
    field(page, "File").set_input_files(file)
    button(page, "Preview").click()
    expect(page.get_by_text("1 job will be changed")).to_be_visible()
    expect(page.get_by_role("insertion")).to_contain_text('"hours": 6')
    button(page, "Import").click()
    expect(page.get_by_text("Imported: 1 changed.")).to_be_visible()
    page.goto(colleague.added[-1])
    expect(page.get_by_text("Every 6 hours").first).to_be_visible()
