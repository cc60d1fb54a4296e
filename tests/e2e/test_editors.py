"""Every editor of a trigger: what it says will happen, what it warns of, and the job it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.looks import arm, barriers
from tests.e2e.screens import button, expect_job, field, open_form, tab_to, title

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Locator, Page

    from tests.e2e.people import Colleague

PARTS = "Part "


@dataclass(frozen=True)
class Case:
    """What is filled in, and what the preview makes of it.

    A field of a part of a combination is named `Part 1: Hour`.
    """

    trigger: str
    fields: Mapping[str, str]
    sentence: str
    times: tuple[str, ...] = ()
    """The first fire times."""
    warning: str = ""


CASES = (
    Case(
        "Interval",
        {"Every": "1", "Unit": "seconds", "Start": "2035-03-01 12:00", "Time zone": "Asia/Tokyo"},
        "Every second",
        ("Thu 2035-03-01 12:00:00 JST", "Thu 2035-03-01 12:00:01 JST"),
        "very_frequent",
    ),
    Case(
        "Cron",
        {"Hour": "6", "Minute": "30", "Day": "1", "Day of week": "mon", "Year": "2035-2036"},
        "At 06:30 on Mondays that fall on day 1 of the month",
        ("Mon 2035-01-01 06:30:00 UTC", "Mon 2035-10-01 06:30:00 UTC"),
        "day_and_weekday",
    ),
    Case(
        "Crontab",
        {"Crontab": "30 2 * * *", "Time zone": "Europe/Berlin"},
        "Every day at 02:30",
        warning="dst_skipped",
    ),
    Case(
        "Crontab",
        {"Crontab": "*/30 1-3 * * *", "Time zone": "America/New_York"},
        "01:00",
        warning="dst_repeated",
    ),
    Case(
        "Date",
        {"Run at": "2035-06-01 08:00", "Time zone": "Europe/Berlin"},
        "Once, on 2035-06-01 at 08:00",
        ("Fri 2035-06-01 08:00:00 CEST",),
        "busy_moment",
    ),
    Case(
        "Calendar interval",
        {"Days": "", "Months": "1", "Time of day": "09:15", "Start": "2035-01-31"},
        "Every month on day 31 at 09:15",
        ("Wed 2035-01-31 09:15:00 UTC", "Sat 2035-03-31 09:15:00 UTC"),
    ),
    Case(
        "All of",
        {"Part 1: Hour": "*/2", "Part 2: Hour": "1"},
        "Only when all of these agree",
        warning="never_fires",
    ),
    Case(
        "Any of",
        {
            "Part 1: Hour": "6",
            "Part 2: Kind": "All of",
            "Part 2.1: Hour": "8-18",
            "Part 2.2: Kind": "Crontab",
            "Part 2.2: Crontab": "*/20 * * * mon-fri",
        },
        "every day at 06:00; (only when all of these agree: every hour from 08:00 to 18:00;"
        " every 20 minutes on weekdays (Mon-Fri))",
    ),
)


@pytest.fixture
def page(page: Page) -> Page:
    """A page that can be looked at with axe."""
    arm(page)
    return page


@pytest.fixture
def crowd(colleague: Colleague, job_name: str) -> None:
    """Ten jobs of one moment."""
    moment = {"trigger.run_date": "2035-06-01 06:00", "trigger.timezone": "UTC"}
    for number in range(10):
        colleague.add(f"{job_name} {number}", **{"trigger.type": "date"}, **moment)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.trigger}-{case.warning}")
def test_it_shows_what_will_happen_and_makes_the_job(
    page: Page, colleague: Colleague, job_name: str, case: Case, request: pytest.FixtureRequest
) -> None:
    if case.warning == "busy_moment":
        request.getfixturevalue("crowd")
    open_form(page)
    field(page, "Task").select_option("tests.greet")
    expect(field(page, "Who")).to_be_visible()
    field(page, "Trigger").select_option(label=case.trigger)
    for label, text in case.fields.items():
        fill(page, label, text)
    preview = page.get_by_role("status").filter(has_text=case.sentence)
    expect(preview).to_be_visible()
    codes = page.locator("[data-code]")
    if case.warning:
        expect(page.locator(f"[data-code={case.warning}]").first).to_be_visible()
    else:
        expect(codes).to_have_count(0)
    shown = page.get_by_role("list", name="fire times").get_by_role("listitem")
    for number, time in enumerate(case.times):
        expect(shown.nth(number)).to_contain_text(time)
    assert barriers(page, None) == []

    field(page, "Name").fill(job_name)
    button(page, "Create job").click()
    if case.warning == "never_fires":
        expect(page.get_by_role("group", name="to put right")).to_contain_text(
            "do not fire together"
        )
        expect(title(page)).to_have_text("New job")
    else:
        colleague.added.append(expect_job(page, job_name))
        expect(page.get_by_text(case.sentence).first).to_be_visible()


def fill(page: Page, label: str, text: str) -> None:
    """Fill in a field, opening what it is folded away in."""
    place: Page | Locator = page
    if label.startswith(PARTS):
        part, _, label = label.partition(": ")
        place = page.get_by_role("group", name=part, exact=True)
    wanted = field(place, label)
    expect(wanted).to_be_attached()
    if not wanted.is_visible():
        place.locator("summary", has_text=f"Start, {label}" if label == "End" else label).click()
    if label in {"Unit", "Kind"}:
        wanted.select_option(label=text)
    else:
        wanted.fill(text)


@pytest.mark.parametrize(
    ("trigger", "label", "nonsense"),
    [
        ("Interval", "Jitter", "-1"),
        ("Cron", "Week", "54"),
        ("Crontab", "End", "tomorrow"),
        ("Calendar interval", "Months", "-1"),
        ("All of", "Part 2: Minute", "60"),
    ],
)
def test_the_preview_disappears_rather_than_lie(
    page: Page, trigger: str, label: str, nonsense: str
) -> None:
    open_form(page)
    field(page, "Trigger").select_option(label=trigger)
    if trigger == "Crontab":
        fill(page, "Crontab", "0 9 * * *")
    elif trigger == "All of":
        fill(page, "Part 1: Minute", "5")
        fill(page, "Part 2: Minute", "5")
    elif trigger == "Cron":
        fill(page, "Hour", "9")
    times = page.get_by_role("list", name="fire times")
    expect(times).to_be_visible()
    fill(page, label, nonsense)
    expect(times).to_have_count(0)
    complaint = page.get_by_role("status").filter(has_text="There is no preview yet")
    expect(complaint).to_contain_text(label.rpartition(": ")[2])


def test_a_combination_with_options_is_made_with_the_keyboard_alone(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    page.goto("/jobs/new")
    tab_to(field(page, "Task"))
    page.keyboard.type("tests.greet")
    tab_to(field(page, "Who"))
    page.keyboard.type("Ada")
    tab_to(field(page, "Trigger"))
    page.keyboard.type("Any of")
    first, second, third = (page.get_by_role("group", name=f"Part {n}") for n in (1, 2, 3))
    tab_to(field(first, "Hour"))
    page.keyboard.type("6")
    tab_to(button(page, "Add a part"))
    page.keyboard.press("Enter")
    expect(field(third, "Kind")).to_be_focused()
    page.keyboard.type("Crontab")
    tab_to(field(third, "Crontab"))
    page.keyboard.type("0 18 * * *")
    tab_to(second.get_by_role("button", name="Remove"))
    page.keyboard.press("Enter")
    expect(third).to_have_count(0)
    expect(button(page, "Add a part")).to_be_focused()
    expect(page.get_by_text("every day at 18:00")).to_be_visible()
    tab_to(field(page, "Name"))
    page.keyboard.type(job_name)
    tab_to(page.locator("summary").filter(has_text="fails"))
    page.keyboard.press("Enter")
    tab_to(field(page, "Retries"))
    page.keyboard.type("2")
    field(page, "Retries").press("Enter")
    colleague.added.append(expect_job(page, job_name))
    expect(page.get_by_text("The first 1 min after a failure")).to_be_visible()
