"""What somebody on call lives through, from the first sign of trouble to its end."""

from __future__ import annotations

import re
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.people import Colleague
from tests.e2e.product import running
from tests.e2e.screens import button, expect_mark, field, keep_mark, title
from tests.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page, Playwright, StorageState

    from tests.e2e.product import Product
    from tests.receiver import Receiver


EVERY_SECOND = {"trigger.type": "interval", "trigger.every": "1", "trigger.unit": "seconds"}
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def row(page: Page, region: str, job: str) -> Locator:
    """The row of a job in one of the lists of Now."""
    return page.get_by_role("table", name=region).get_by_role("row").filter(has_text=job)


def test_a_failing_job_is_seen_acknowledged_and_recovers(
    page: Page, colleague: Colleague, receiver: Receiver, job_name: str, tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted"
    job = colleague.add(job_name, "tests.look", **{"parameters.path": str(wanted)})
    colleague.ask_for_alerts(job, receiver.url, settle="0")
    page.goto("/")
    keep_mark(page)
    run = colleague.run(job, "failed")
    failing = row(page, "Failing", job_name)
    expect(failing).to_contain_text("1 failure")
    expect(failing.get_by_role("link", name="FileNotFoundError")).to_have_attribute("href", run)
    expect(page).to_have_title(re.compile(r"^\(\d+\) Now"))

    [problem] = receiver.wait_for("problem")
    assert "FileNotFoundError" in problem["message"]
    button(failing, "Acknowledge").click()
    dialog = page.get_by_role("dialog", name="Acknowledge")
    expect(field(dialog, "Reason")).to_be_focused()
    field(dialog, "Reason").fill(f"the file is late {HOSTILE}")
    button(dialog, "Acknowledge").click()
    expect(dialog).to_be_hidden()
    expect(failing).to_have_count(0)
    page.get_by_text("Acknowledged and snoozed").click()
    known = row(page, "Acknowledged and snoozed", job_name)
    expect(known).to_contain_text("by admin")
    expect(known).to_contain_text(f"until it recovers: the file is late {HOSTILE}")

    wanted.touch()
    colleague.run(job, "succeeded")
    expect(known).to_have_count(0)
    expect(page).not_to_have_title("owned")
    expect_mark(page)
    _problem, recovered = receiver.wait_for("problem", "recovered")
    assert recovered["message"].startswith(f"{job_name} is well again")


def test_a_flapping_job_alerts_once(
    page: Page, colleague: Colleague, receiver: Receiver, job_name: str, tmp_path: Path
) -> None:
    switch = {"parameters.switch": str(tmp_path / "switch")}
    job = colleague.add(job_name, "tests.flap", **EVERY_SECOND, **switch)
    colleague.ask_for_alerts(job, receiver.url, settle="5m")
    page.goto(f"/runs?state=failed&job={job.removeprefix('/jobs/')}")
    failed = page.get_by_role("row").filter(has_text="on and off")
    expect(failed.nth(3)).to_be_visible()
    receiver.wait_for("problem")
    assert receiver.events == ["problem"]


def test_a_job_that_hangs_should_have_finished(
    page: Page, colleague: Colleague, job_name: str, tmp_path: Path
) -> None:
    page.goto("/")
    parameters = {"parameters.folder": str(tmp_path)}
    job = colleague.add(job_name, "tests.stages", **EVERY_SECOND, **parameters)
    hanging = row(page, "Running unusually long", job_name)
    expect(hanging).to_contain_text("should have finished")
    colleague.act(job, "pause")
    for stage in ("fetch", "convert", "publish"):
        (tmp_path / stage).touch()
    expect(hanging).to_have_count(0)


def test_a_scheduler_that_was_down_says_what_was_missed(
    page: Page,
    playwright: Playwright,
    cookies_of: Callable[[Product], StorageState],
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with pytest.raises(AssertionError, match="ended with -9"):
        crash(data, playwright, cookies_of)
    an_hour_passes(data)
    with running(data) as restarted:
        for cookie in cookies_of(restarted)["cookies"]:
            page.context.add_cookies(
                [{"name": cookie["name"], "value": cookie["value"], "url": restarted.url}]
            )
        page.goto(f"{restarted.url}/")
        notice = page.get_by_text("The scheduler was down for 1 h")
        expect(notice.locator("..")).to_contain_text("its process died or was cut off")
        expect(row(page, "Overdue", "Nightly")).to_contain_text("passed without a start")
        page.get_by_role("link", name="1 fire time missed").click()
        expect(title(page)).to_have_text("Runs")
        expect(page.get_by_role("row").filter(has_text="Nightly")).to_have_count(1)
        page.close()  # else it asks on while the server stops


def crash(
    data: Path, playwright: Playwright, cookies_of: Callable[[Product], StorageState]
) -> None:
    """Run a dashboard with a job, and kill it."""
    with running(data) as product:
        with Colleague.at(playwright, product.url, cookies_of(product)) as colleague:
            colleague.add("Nightly", "dashboard.prune")
        product.process.send_signal(signal.SIGKILL)
        product.process.wait()


def an_hour_passes(data: Path) -> None:
    """Move back what a dashboard that is not running wrote last, as if that were an hour ago."""
    before = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    with closing(sqlite3.connect(data / "dashboard.sqlite")) as database, database:
        database.execute("UPDATE scheduler_life SET seen_at = ?", (f"{before}",))
        half = before + timedelta(minutes=30)
        database.execute("UPDATE job SET next_run_time = ?", (f"{half}",))
