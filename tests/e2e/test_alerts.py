"""Somebody makes an alert rule, tries it out, and is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.screens import button, field, follow, title
from tests.receiver import receiving

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.people import Colleague


def test_a_rule_is_made_tried_out_and_tells_of_a_job_that_fails(
    page: Page, colleague: Colleague, job_name: str
) -> None:
    job = colleague.add(job_name, "tests.fail", **{"parameters.message": "no <b>paper</b>"})
    with receiving() as receiver:
        page.goto("/alerts")
        follow(page.get_by_role("link", name="New rule"))
        button(page, "Create rule").click()
        expect(page.get_by_text("A rule needs a name.")).to_be_visible()
        field(page, "Name").fill(job_name)
        field(page, "Which jobs").select_option(label="These jobs")
        field(page, "Job ids").fill(job.rpartition("/")[2])
        field(page, "Failures").fill("2")
        expect(page.locator("#summary")).to_contain_text("has failed 2 times in a row")
        field(page, "Channels").fill(receiver.url)
        button(page, "Create rule").click()
        expect(title(page)).to_have_text("Alerts")
        row = page.get_by_role("row").filter(has_text=job_name)
        button(row.first, "Test").click()
        message = page.get_by_role("row").filter(has_text=f"test of the alert rule “{job_name}”")
        expect(message).to_contain_text("sent")
        colleague.run(job, "failed")
        colleague.run(job, "failed")
        problem = page.get_by_role("row").filter(has_text="2 times in a row: ")
        expect(problem.filter(has_text="Sent")).to_be_visible()
        _test, told = receiver.wait_for("test", "problem")
        assert told["job_name"] == job_name
        assert "no <b>paper</b>" in told["message"]
        page.once("dialog", lambda question: question.accept())
        button(row.first, "Remove").click()
        expect(page.get_by_text("The rule is removed.")).to_be_visible()
