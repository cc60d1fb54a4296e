"""Timeline with as many runs as it draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from playwright.sync_api import expect
from sqlalchemy import insert

from dashboard.history.timeline import MOST_RUNS
from dashboard.storage.db import Database
from dashboard.storage.models import Origin, Run, RunState
from tests.e2e.screens import title
from tests.rows import make_job

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.product import Product

JOBS = 50
ELEMENTS, CHARACTERS = 4000, 500_000
"""Nearly twice what it takes, and far less than one element for each run."""


def fill(product: Product) -> None:
    """Let 50 jobs have run 10,000 times in the last five hours, every tenth time in vain."""
    now = datetime.now(UTC)
    about = {"task": "tests.greet", "parameters": {}, "attempt": 1, "origin": Origin.SCHEDULE}
    runs = []
    for number in range(MOST_RUNS):
        began = now - timedelta(hours=5) * (1 - number / MOST_RUNS)
        moments = dict.fromkeys(("scheduled_at", "queued_at", "started_at", "finished_at"), began)
        state = RunState.FAILED if number % 10 == 0 else RunState.SUCCEEDED
        job = f"job-{number % JOBS}"
        runs.append({"job_id": job, "job_name": job, "state": state, **about, **moments})
    database = Database(f"sqlite:///{product.data / 'dashboard.sqlite'}")
    with database.write() as session:
        session.add_all(make_job(f"job-{job}", next_run_time=None) for job in range(JOBS))
        session.execute(insert(Run).values(executor="threads", log_dropped=0, coalesced=0), runs)
    database.close()


def test_ten_thousand_runs_are_one_small_page(page: Page, own_product: Product) -> None:
    fill(own_product)
    page.goto("/timeline")
    region = page.get_by_role("region", name="Runs and fire times")
    expect(region).to_contain_text("10,000 runs of")
    assert page.locator("#timeline *").count() < ELEMENTS
    assert len(page.content()) < CHARACTERS

    region.get_by_role("link", name="24 h", exact=True).click()
    expect(region.get_by_role("link", name="24 h", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    expect(region).to_contain_text("10,000 runs of")
    assert page.locator("#timeline *").count() < ELEMENTS
    region.get_by_role("link", name="job-7", exact=True).click()
    expect(title(page)).to_have_text("job-7")
