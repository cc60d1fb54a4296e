"""Adding jobs in the form: what is typed becomes a job that runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.screens import (
    button,
    expect_job,
    expect_mark,
    expect_page,
    field,
    keep_mark,
    open_form,
    previewed,
    runs,
    tab_to,
    title,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.people import Colleague

MONDAY = 0


def test_an_interval_job_runs_by_itself(page: Page, colleague: Colleague, job_name: str) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    field(page, "Who").fill("Ada")
    field(page, "Trigger").select_option(label="Interval")
    field(page, "Every").fill("1")
    field(page, "Unit").select_option("seconds")
    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    colleague.added.append(expect_job(page, job_name))
    keep_mark(page)
    expect(runs(page, "Succeeded")).not_to_have_count(0)
    expect_mark(page)
    runs(page, "Succeeded").first.get_by_role("link").first.click()
    expect(page.get_by_role("log")).to_contain_text("Hello, Ada!")


def test_a_crontab_line_means_what_cron_would_do(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    expect(field(page, "Who")).to_be_visible()
    field(page, "Trigger").select_option(label="Crontab")
    field(page, "Crontab").fill("0 9 * * 1")
    expect(page.get_by_text("At 09:00 on Mondays")).to_be_visible()
    assert {time.weekday() for time in previewed(page)} == {MONDAY}
    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    colleague.added.append(expect_job(page, job_name))
    expect(page.get_by_text("At 09:00 on Mondays")).to_be_visible()


@pytest.mark.parametrize(
    ("trigger", "label", "text", "message"),
    [
        ("Interval", "Every", "0", "at least 1 second"),
        ("Interval", "Every", "-5", "at least"),
        ("Interval", "Time zone", "Europe/Atlantis", "is not a known time zone"),
        ("Cron", "Hour", "25", "“25” is out of range; use 0 to 23"),
        ("Cron", "Day of week", "mon-fri/2", "has a step after a name"),
        ("Crontab", "Crontab", "61 * * * *", "“61” is out of range; use 0 to 59"),
        ("Crontab", "Crontab", "every day", "five"),
        ("Date", "Run at", "yesterday", "“yesterday” is not understood"),
        ("Date", "Run at", "2001-01-01 12:00", "past"),
    ],
)
def test_bad_input_is_named_beside_its_field_and_kept(
    page: Page, job_name: str, trigger: str, label: str, text: str, message: str
) -> None:
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    expect(field(page, "Who")).to_be_visible()
    field(page, "Who").fill("Grace")
    field(page, "Trigger").select_option(label=trigger)
    field(page, label).fill(text)
    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    expect(page.get_by_role("group", name="to put right")).to_be_visible()
    expect(field(page, label)).to_have_attribute("aria-invalid", "true")
    expect(field(page, label)).to_have_accessible_description(re.compile(re.escape(message)))
    expect(field(page, label)).to_have_value(text)
    expect(field(page, "Who")).to_have_value("Grace")
    expect(field(page, "Name")).to_have_value(job_name)
    expect(title(page)).to_have_text("New job")


def test_a_job_is_added_with_the_keyboard_alone(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto("/jobs")
    tab_to(button(page, "New job"))
    page.keyboard.press("Enter")
    expect_page(page, "New job")
    tab_to(field(page, "Task"))
    page.keyboard.type("tests.greet")
    tab_to(field(page, "Who"))
    page.keyboard.type("Ada")
    tab_to(field(page, "Trigger"))
    page.keyboard.type("Crontab")
    tab_to(field(page, "Crontab"))
    page.keyboard.type("0 9 * * 1")
    expect(page.get_by_text("At 09:00 on Mondays")).to_be_visible()
    tab_to(field(page, "Name"))
    page.keyboard.type(job_name)
    tab_to(button(page, "Create job"))
    page.keyboard.press("Enter")
    colleague.added.append(expect_job(page, job_name))

    tab_to(button(page, "Run now"))
    page.keyboard.press("Enter")
    tab_to(button(page.get_by_role("dialog"), "Run now"))
    page.keyboard.press("Enter")
    expect(runs(page, "succeeded")).to_have_count(1)


def test_the_slash_key_leads_to_the_search(page: Page) -> None:
    page.goto("/jobs")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    page.keyboard.type("a/b")
    expect(page.get_by_role("searchbox", name="Search")).to_have_value("a/b")
