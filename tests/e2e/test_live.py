"""Pages that are left open: they follow what happens and keep what a person is in the middle of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.screens import LIVE, button, expect_mark, field, keep_mark, runs, title

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.e2e.people import Colleague


@pytest.fixture
def staged(page: Page, colleague: Colleague, job_name: str, tmp_path: Path) -> Path:
    """Start a run that goes on whenever a file appears in the folder, and open its page."""
    job = colleague.add(job_name, "tests.stages", **{"parameters.folder": str(tmp_path)})
    colleague.act(job, "run")
    page.goto(job)
    runs(page).get_by_role("link").first.click()
    expect(title(page)).to_contain_text(job_name)
    return tmp_path


def test_a_running_task_is_followed_live(page: Page, staged: Path) -> None:
    keep_mark(page)
    log = page.get_by_role("log")
    steps = page.get_by_role("region", name="Steps").get_by_role("listitem")
    expect(steps).to_have_text(["running", "fetch"], timeout=LIVE)
