"""What people do with a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.e2e.screens import button, expect_page, field, follow, runs, title

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.people import Colleague

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def test_run_now_runs_it_and_leaves_the_schedule_alone(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name))
    first = (
        page.get_by_role("list", name="fire times").get_by_role("listitem").first.locator("time")
    )
    due = first.get_attribute("datetime")
    button(page, "Run now").click()
    dialog = page.get_by_role("dialog", name="Run")
    expect(dialog).to_contain_text("The schedule is not changed")
    button(dialog, "Run now").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text(re.compile(r"Run \d+ of .+ is queued"))).to_be_visible()
    expect(runs(page, "Succeeded")).to_have_count(1)
    expect(runs(page)).to_contain_text("By hand")
    expect(first).to_have_attribute("datetime", due or "")


def test_a_paused_job_stays_paused_until_it_is_resumed(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name))
    button(page, "Pause").click()
    dialog = page.get_by_role("dialog", name="Pause")
    field(dialog, "Reason").fill("the supplier is on holiday")
    button(dialog, "Pause").click()
    expect(page.get_by_text("Paused by admin")).to_be_visible()
    expect(page.get_by_text("the supplier is on holiday").first).to_be_visible()

    follow(page.get_by_role("link", name="Edit"))
    expect(page.get_by_text("The job is paused")).to_be_visible()
    field(page, "Every").fill("1")
    field(page, "Unit").select_option("seconds")
    button(page, "Save changes").click()
    expect_page(page, job_name)
    expect(page.get_by_text("Every second").first).to_be_visible()
    expect(page.get_by_text("the supplier is on holiday").first).to_be_visible()
    expect(page.get_by_text("If it were resumed now")).to_be_visible()
    expect(runs(page)).to_have_count(0)

    button(page, "Resume").click()
    expect(page.get_by_text("Paused by admin")).to_be_hidden()
    expect(runs(page, "Succeeded")).not_to_have_count(0)


def test_a_failing_job_shows_where_it_failed(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    job = colleague.add(job_name, "tests.fail", **{"parameters.message": "the disk is full"})
    colleague.act(job, "run")
    page.goto(job)
    expect(runs(page, "Failed")).to_have_count(1)
    expect(page.get_by_text("Failing since")).to_be_visible()
    follow(runs(page, "Failed").get_by_role("link").first)
    error = page.get_by_role("region", name="Error")
    expect(error).to_contain_text("ValueError")
    expect(error).to_contain_text("the disk is full")
    expect(error).to_contain_text("raise ValueError(message)")
    expect(error).to_contain_text("tasks_for_tests.py")
    expect(page.get_by_role("log")).to_contain_text("This goes well so far.")

    button(page, "Retry").click()
    expect(page.get_by_text("attempt 2").first).to_be_visible()
    expect(title(page)).to_contain_text(job_name)


def test_a_removed_job_leaves_its_runs(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name)
    colleague.act(job, "run")
    page.goto(job)
    expect(runs(page, "Succeeded")).to_have_count(1)
    button(page, "Remove").click()
    dialog = page.get_by_role("dialog", name="Remove")
    expect(dialog).to_contain_text("Its runs stay")
    button(dialog, "Remove").click()
    expect(title(page)).to_have_text("Jobs")
    expect(page.get_by_role("link", name=job_name)).to_have_count(0)
    page.goto(f"/runs?q={job_name}")
    expect(page.get_by_role("row").filter(has_text=job_name)).to_have_count(1)


def test_a_dialog_can_be_left_without_doing_anything(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name))
    for name in ("Run now", "Pause", "Remove"):
        dialog = page.get_by_role("dialog", name=name.removesuffix(" now"))
        button(page, name).click()
        expect(dialog).to_be_visible()
        button(dialog, "Cancel").click()
        expect(dialog).to_be_hidden()
        button(page, name).click()
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(button(page, name)).to_be_focused()
    expect(runs(page)).to_have_count(0)


def test_a_stale_edit_is_refused_and_says_what_changed(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    job = colleague.add(job_name, notes="as it was")
    page.goto(f"{job}/edit")
    field(page, "Tags").fill("mine")
    colleague.change(job, 1, notes="as the colleague wrote")
    button(page, "Save changes").click()
    notice = page.get_by_role("group", name="changed meanwhile")
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("as the colleague wrote")
    expect(field(page, "Notes")).to_have_value("as the colleague wrote")
    expect(field(page, "Tags")).to_have_value("mine")
    button(page, "Save changes").click()
    expect(title(page)).to_have_text(job_name)
    expect(page.get_by_text("as the colleague wrote").first).to_be_visible()
    expect(page.get_by_text("mine", exact=True)).to_be_visible()


def test_markup_in_names_and_errors_is_only_text(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    name = f"{job_name} {HOSTILE}"
    job = colleague.add(
        name,
        "tests.fail",
        **{"parameters.message": HOSTILE, "notes": HOSTILE, "tags": "<b>tag</b>"},
    )
    colleague.act(job, "run")
    page.goto(job)
    expect(title(page)).to_have_text(name)
    expect(runs(page, "Failed")).to_have_count(1)
    runs(page, "Failed").get_by_role("link").first.click()
    expect(page.get_by_role("region", name="Error")).to_contain_text(HOSTILE)
    for address in ("/", "/jobs", f"{job}/edit", f"{job}/pause", "/runs"):
        page.goto(address)
        expect(page.locator("main")).to_contain_text(re.compile("<img src=x|Edit"))
        expect(page.locator("img[src=x]")).to_have_count(0)
    assert "owned" not in page.title()


def test_the_list_of_jobs_acts_in_place(page: Page, colleague: Colleague, job_name: str) -> None:
    colleague.add(job_name)
    page.goto("/jobs")
    page.get_by_role("searchbox", name="Search").fill(job_name)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=job_name))
    expect(page.get_by_role("row")).to_have_count(2)
    button(row, "Pause").click()
    dialog = page.get_by_role("dialog", name="Pause")
    expect(field(dialog, "Reason")).to_be_focused()
    field(dialog, "Reason").fill("month end")
    field(dialog, "Or until").fill("soon")
    button(dialog, "Pause").click()
    expect(field(dialog, "Or until")).to_have_accessible_description(re.compile("is no time"))
    expect(field(dialog, "Reason")).to_have_value("month end")
    field(dialog, "Or until").fill("90min")
    button(dialog, "Pause").click()
    expect(dialog).to_be_hidden()
    expect(row.get_by_role("cell", name="paused", exact=True)).to_be_visible()
    expect(row).to_contain_text("month end")
    button(row, "Resume").click()
    expect(row.get_by_role("cell", name="scheduled", exact=True)).to_be_visible()
    button(row, "Run now").click()
    expect(row.get_by_role("img", name="succeeded")).to_be_visible()
    expect(page).to_have_url(f"/jobs?q={job_name.replace(' ', '+')}")


def test_a_removed_job_is_brought_back_at_once(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name))
    button(page, "Remove").click()
    button(page.get_by_role("dialog"), "Remove").click()
    expect_page(page, "Jobs")
    expect(page.get_by_role("link", name=job_name)).to_have_count(0)
    button(page.get_by_role("status"), "Undo").click()
    expect(page.get_by_text("is back as it was")).to_be_visible()
    expect(page.get_by_role("link", name=job_name)).to_be_visible()
    expect(button(page, "Undo")).to_have_count(0)


def test_a_clone_begins_with_everything_filled_in(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto(colleague.add(job_name, **{"parameters.times": "3"}, tags="cloned"))
    page.get_by_role("link", name="Clone").click()
    expect(title(page)).to_have_text("New job")
    expect(field(page, "Times")).to_have_value("3")
    expect(field(page, "Tags")).to_have_value("cloned")
    button(page, "Create job").click()
    expect(title(page)).to_have_text(f"{job_name} (copy)")
    colleague.added.append(urlsplit(page.url).path)


def test_one_run_is_given_other_parameters(page: Page, colleague: Colleague, job_name: str) -> None:
    page.goto(colleague.add(job_name, **{"parameters.who": "Ada"}))
    button(page, "Run now").click()
    page.get_by_role("link", name="Other parameters for this run").click()
    expect(page.get_by_text("The schedule is not changed")).to_be_visible()
    field(page, "Who").fill("Grace")
    button(page, "Run now").click()
    expect(title(page)).to_have_text(job_name)
    expect(runs(page, "Succeeded")).to_have_count(1)
    runs(page, "Succeeded").get_by_role("link").first.click()
    expect(page.get_by_role("log")).to_contain_text("Hello, Grace!")
