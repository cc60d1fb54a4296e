"""What holds on every page: for the eye and for assistive technology, on a desk and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import OPTIONS
from tests.e2e.looks import arm, faults
from tests.e2e.people import Colleague
from tests.e2e.product import running
from tests.e2e.screens import button, field, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page, Playwright, StorageState

    from tests.e2e.conftest import Watch
    from tests.e2e.product import Product

LONG = "a-name-without-any-place-to-break-it-" * 3

PAGES = {
    "now": "/",
    "now, on the wall": "/?tv=1",
    "jobs": "/jobs",
    "jobs, search not understood": "/jobs?q=state:dancing",
    "jobs that were removed": "/jobs?q=state:removed",
    "import": "/jobs/import",
    "new job": "/jobs/new",
    "clone": "/jobs/new?clone={id}",
    "job": "{job}",
    "job that fails": "{failing}",
    "job that is paused": "{paused}",
    "question before pausing": "{job}/pause",
    "edit": "{job}/edit",
    "runs": "/runs",
    "runs, filter not understood": "/runs?since=yesterdayish",
    "run": "{run}",
    "run that failed": "{failed}",
    "audit": "/audit",
    "audit, filtered": "/audit?action=job&since=7d",
    "people": "/people",
    "add person": "/people/new",
    "person": "/people/1",
    "profile": "/profile",
    "errors": "/errors",
    "timeline": "/timeline",
    "error": "{error}",
    "question before acknowledging": "{failing}/acknowledge",
    "alerts": "/alerts",
    "new alert rule": "/alerts/new",
    "system": "/system",
    "tokens": "/tokens",
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A dashboard of these tests' own: looking at all that other tests have left takes long."""
    with running(tmp_path_factory.mktemp("every page"), *OPTIONS) as product:
        yield product


@pytest.fixture(scope="module")
def sights(
    playwright: Playwright, product: Product, cookies_of: Callable[[Product], StorageState]
) -> Iterator[dict[str, str]]:
    """Addresses at which there is something to see, texts too long for their places included."""
    with Colleague.at(playwright, product.url, cookies_of(product)) as colleague:
        job = colleague.add("Greetings", tags="mail, nightly", notes="See https://example.com/run.")
        failing = colleague.add(
            f"Failing {LONG}", "tests.fail", **{"parameters.message": f"no file {LONG * 5}"}
        )
        paused = colleague.add("Paused", notes=LONG, tags=LONG[:40])
        run, failed = colleague.run(job, "succeeded"), colleague.run(failing, "failed")
        colleague.act(paused, "pause", reason=f"waiting for {LONG}")
        removed = colleague.add(f"Removed {LONG}")
        colleague.act(removed, "remove")
        yield {
            "job": job,
            "id": job.removeprefix("/jobs/"),
            "failing": failing,
            "paused": paused,
            "removed": removed,
            "run": run,
            "failed": failed,
            "error": colleague.error_of(failed),
        }


@pytest.fixture
def page(page: Page) -> Page:
    """A page that can be looked at with axe."""
    arm(page)
    return page


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_everybody_can_use_every_page(page: Page, sights: dict[str, str], address: str) -> None:
    page.goto(address.format(**sights))
    assert sorted(faults(page)) == []
    expect(title(page)).to_have_count(1)


def test_everybody_can_bring_back_a_removed_job(
    page: Page, sights: dict[str, str], watch: Watch
) -> None:
    watch.expected.append("404 for GET")
    page.goto(sights["removed"])
    expect(button(page, "Bring back")).to_be_visible()
    assert sorted(faults(page)) == []


@pytest.mark.browser_context_args(storage_state=None)
def test_everybody_can_sign_in(page: Page) -> None:
    page.goto("/login")
    assert sorted(faults(page)) == []


def test_everybody_can_use_a_dialog(page: Page, sights: dict[str, str]) -> None:
    page.goto(sights["job"])
    button(page, "Pause").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert sorted(faults(page)) == []


def test_everybody_can_act_on_many_jobs(page: Page, sights: dict[str, str]) -> None:
    page.goto("/jobs")
    page.get_by_role("checkbox", name="Select page").check()
    assert sights
    assert sorted(faults(page)) == []
    button(page, "Pause…").click()
    expect(page.get_by_role("heading", name="Left out")).to_be_visible()
    assert sorted(faults(page)) == []


def test_everybody_can_put_a_form_right(page: Page) -> None:
    page.goto("/jobs/new")
    field(page, "Trigger").select_option(label="Any of")
    expect(page.get_by_role("group", name="Part 2")).to_be_visible()
    button(page, "Create job").click()
    expect(page.get_by_role("group", name="to put right")).to_be_visible()
    assert sorted(faults(page)) == []


def test_a_choice_of_dark_or_light_is_kept(page: Page) -> None:
    page.goto("/")
    dark = page.locator("html[data-bs-theme=dark]")
    expect(dark).to_have_count(0)
    with page.expect_response("**/theme"):
        button(page, "Dark").click()
    expect(dark).to_have_count(1)
    page.goto("/jobs")
    expect(dark).to_have_count(1)
    expect(button(page, "Dark")).to_have_attribute("aria-pressed", "true")
    with page.expect_response("**/theme"):
        button(page, "As the system").click()
    expect(dark).to_have_count(0)
    page.emulate_media(color_scheme="dark")
    expect(dark).to_have_count(1)
