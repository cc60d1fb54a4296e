"""Runs that are ended, tried again or take too long, and pauses that end by themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.screens import button, follow, runs, title

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.people import Colleague


def test_a_run_in_a_process_is_cancelled_at_once(
    page: Page, colleague: Colleague, job_name: str, tmp_path: Path
) -> None:
    fields = {"parameters.folder": str(tmp_path), "executor": "processes"}
    job = colleague.add(job_name, "tests.stages", **fields)
    colleague.act(job, "run")
    page.goto(job)
    follow(runs(page, "Running").get_by_role("link").first)
    expect(page.get_by_text("about to fetch")).to_be_visible()
    button(page, "Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel run")
    expect(dialog).to_contain_text("Its worker process is killed")
    button(dialog, "Cancel run").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Cancelled by admin.")).to_be_visible()
    expect(button(page, "Cancel")).to_have_count(0)
    expect(button(page, "Retry")).to_be_visible()


def test_a_failed_run_is_tried_again(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name, "tests.fail", retries="1", retry_wait="3600")
    failed = colleague.run(job, "failed")
    page.goto(failed)
    attempts = page.get_by_role("list", name="All attempts")
    expect(attempts.get_by_role("listitem")).to_have_count(2)
    attempts.get_by_role("link").nth(1).click()
    expect(page.get_by_text("Attempt 2 of 2.")).to_be_visible()
    expect(page.get_by_text("The attempt before it failed; this one begins")).to_be_visible()

    page.goto(job)
    table = page.get_by_role("table", name="Runs of this job")
    expect(table.get_by_text("It is tried again at")).to_be_visible()
    expect(page.get_by_text("Failing since")).to_have_count(0)
    follow(runs(page, "Queued").get_by_role("link").first)
    button(page, "Retry now").click()
    expect(page.get_by_role("region", name="Error")).to_be_visible()
    expect(button(page, "Retry")).to_be_visible()
    attempts.get_by_role("link").first.click()
    expect(title(page)).to_contain_text(failed.removeprefix("/runs/"))


def test_a_run_that_took_too_long_says_so(
    page: Page, colleague: Colleague, job_name: str, tmp_path: Path
) -> None:
    fields = {"parameters.folder": str(tmp_path), "executor": "processes", "timeout": "1"}
    job = colleague.add(job_name, "tests.stages", **fields)
    colleague.act(job, "run")
    page.goto(job)
    runs(page).get_by_role("link").first.click()
    error = page.get_by_role("region", name="Error")
    expect(error).to_contain_text("TimeoutError")
    expect(error).to_contain_text("It ran longer than its timeout of 1 s")


def test_a_pause_ends_by_itself(page: Page, colleague: Colleague, job_name: str) -> None:
    job = colleague.add(job_name)
    colleague.act(job, "pause", reason="moving house", until=after(timedelta(hours=1)))
    page.goto(f"{job}/edit")
    expect(page.get_by_text(re.compile("The job is paused: it resumes by itself"))).to_be_visible()
    page.goto(job)
    expect(page.get_by_text(re.compile("Paused by admin.* It resumes by itself"))).to_be_visible()
    expect(page.get_by_text("Once it has resumed by itself")).to_be_visible()
    colleague.act(job, "pause", until=after(timedelta(seconds=10)))
    expect(page.get_by_text("Paused by admin")).to_be_hidden()
    expect(button(page, "Pause")).to_be_visible()
    expect(page.get_by_text("scheduler resumed it")).to_be_visible()


def after(pause: timedelta) -> str:
    """A moment to come, as it is typed."""
    return f"{datetime.now(UTC) + pause:%Y-%m-%dT%H:%M:%S}"
