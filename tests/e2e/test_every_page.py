"""What holds on every page: for the eye and for assistive technology, on a desk and on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from tests.e2e.people import Colleague
from tests.e2e.screens import button, field, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page, Playwright, StorageState

    from tests.e2e.conftest import Watch
    from tests.e2e.product import Product

DESK, PHONE, SMALLEST = 1440, 390, 320
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", DESK),
    ("dark", DESK),
    ("light", PHONE),
    ("dark", PHONE),
)
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SERIOUS = {"serious", "critical"}
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
def sights(
    playwright: Playwright, product: Product, cookies_of: Callable[[str], StorageState]
) -> Iterator[dict[str, str]]:
    """Addresses at which there is something to see, texts too long for their places included."""
    with Colleague.at(playwright, product.url, cookies_of(product.url)) as colleague:
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
        colleague.tidy_up()


@pytest.fixture
def page(page: Page) -> Page:
    """A page that can be looked at with axe."""
    page.add_init_script(AXE_SCRIPT)
    return page


def hold_still(page: Page) -> None:
    """Swap no live part from now on: one swapped during a look is measured half old, half new.

    Only before a look, because a routed request whose redirect is not followed has no response.
    """
    page.route(
        "**/*",
        lambda route: (
            route.fulfill(status=204)
            if "if-none-match" in route.request.headers and "hx-request" in route.request.headers
            else route.fallback()
        ),
    )


def look(page: Page, scheme: Literal["light", "dark"], width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
    page.evaluate(DRAWN)


def faults(page: Page) -> set[str]:
    """What makes the page hard or impossible to use, in every look."""
    hold_still(page)
    found: set[str] = set()
    for scheme, width in LOOKS:
        look(page, scheme, width)
        # Light or dark, only the colours differ.
        rules = None if scheme == "light" else ["color-contrast"]
        found |= {f"{scheme} {width}: {fault}" for fault in [*barriers(page, rules), *wide(page)]}
    look(page, "light", SMALLEST)
    return found | {f"{SMALLEST}: {fault}" for fault in wide(page)}


def barriers(page: Page, rules: list[str] | None) -> list[str]:
    """What axe takes for a serious hindrance to some people."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = page.evaluate("(options) => axe.run(options).then((all) => all.violations)", options)
    return [
        f"{fault['id']} ({fault['impact']}): {node['target']} {node['html'][:200]}"
        for fault in found
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


def wide(page: Page) -> list[str]:
    """What makes the page wider than the window, so that one has to scroll sideways."""
    outer: list[str] = page.evaluate("""() =>
        document.documentElement.scrollWidth <= innerWidth ? [] :
          ["wider than the window", ...[...document.querySelectorAll("main *, header *")]
            .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 120))]""")
    return outer[:5]


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
