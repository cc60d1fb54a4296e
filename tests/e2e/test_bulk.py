"""Acting on many jobs at once, from the list."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.screens import button, field, title

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.e2e.people import Colleague


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("checkbox", name=f"Select {name}", exact=True)


def test_selected_jobs_are_paused_after_a_look_at_them(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    names = [f"{job_name} {letter}" for letter in "abc"]
    for name in names:
        colleague.add(name)
    colleague.act(colleague.added[1], "pause", reason="before")
    page.goto(f"/jobs?q={job_name}")
    bar = page.get_by_role("form", name="Selected jobs")
    expect(bar).to_be_hidden()
    page.get_by_role("checkbox", name="Select page").check()
    expect(bar).to_contain_text("3 selected")
    box(page, names[0]).uncheck()
    expect(bar).to_contain_text("2 selected")
    expect(page.get_by_role("checkbox", name="Select page")).to_be_checked(indeterminate=True)

    colleague.act(colleague.added[0], "run")  # the list draws itself anew; the selection stays
    expect(page.get_by_role("row", name=names[0])).to_contain_text("100 %")
    expect(bar).to_contain_text("2 selected")
    expect(box(page, names[2])).to_be_checked()

    button(bar, "Pause…").click()
    expect(title(page)).to_have_text("Pause: 1 job?")
    expect(page.get_by_text("Paused already.")).to_be_visible()
    expect(page.get_by_role("region", name="These")).to_contain_text(names[2])
    field(page, "Reason").fill("the warehouse moves")
    page.get_by_role("button", name="Pause: 1 job").click()
    expect(title(page)).to_have_text("1 job paused")
    page.get_by_role("link", name=names[2]).click()
    expect(page.get_by_text("the warehouse moves").first).to_be_visible()


def test_all_that_match_are_removed_with_the_keyboard_and_come_back(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    for number in range(52):
        colleague.add(f"{job_name} {number}")
    page.goto(f"/jobs?q={job_name}")
    box(page, f"{job_name} 0").focus()
    page.keyboard.press("Space")
    everything = page.get_by_role("checkbox", name=re.compile("All 52 that match"))
    everything.focus()
    page.keyboard.press("Space")
    button(page, "Remove…").focus()
    page.keyboard.press("Enter")
    expect(title(page)).to_have_text("Remove: 52 jobs?")
    page.get_by_role("button", name="Remove: 52 jobs").press("Enter")
    expect(title(page)).to_have_text("52 jobs removed")
    page.get_by_role("link", name="Back to the jobs").click()
    expect(page.get_by_text("No job matches")).to_be_visible()

    page.go_back()
    button(page, "Undo").press("Enter")
    expect(title(page)).to_have_text("52 jobs brought back")
    page.goto(f"/jobs?q={job_name}")
    expect(page.get_by_text("52 jobs")).to_be_visible()


@pytest.mark.browser_context_args(java_script_enabled=False)
def test_many_jobs_are_tagged_without_javascript(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    for letter in "ab":
        colleague.add(f"{job_name} {letter}")
    page.goto(f"/jobs?q={job_name}")
    expect(page.get_by_role("checkbox", name="Select page")).to_be_hidden()
    box(page, f"{job_name} a").check()
    box(page, f"{job_name} b").check()
    button(page, "Add tag…").click()
    field(page, "Tag").fill("warehouse")
    page.get_by_role("button", name="Add tag: 2 jobs").click()
    expect(title(page)).to_have_text("2 jobs given the tag “warehouse”")
    page.goto(f"/jobs?q={job_name} tag:warehouse")
    expect(page.get_by_role("row")).to_have_count(3)
