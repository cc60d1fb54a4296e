"""What makes a page hard or impossible to use, for the eye and for assistive technology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESK, PHONE, SMALLEST = 1440, 390, 320
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", DESK),
    ("dark", DESK),
    ("light", PHONE),
    ("dark", PHONE),
)
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
MOVING = "() => document.getAnimations().map((each) => each.effect.target.outerHTML.slice(0, 200))"
SERIOUS = {"serious", "critical"}


def arm(page: Page) -> None:
    """Let what the page shows from now on be looked at with axe."""
    page.add_init_script(AXE_SCRIPT)


def hold_still(page: Page) -> None:
    """Swap no live part from now on: one swapped during a look is measured half old, half new.

    Only before a look, because a routed request whose redirect is not followed has no response.
    """
    page.wait_for_load_state()  # its own scripts change a page, too
    page.route(
        "**/*",
        lambda route: (
            route.fulfill(status=204)
            if "if-none-match" in route.request.headers and "hx-request" in route.request.headers
            else route.fallback()
        ),
    )
    expect(page.locator(".htmx-request")).to_have_count(0)  # what was asked for before is there


def look(page: Page, scheme: Literal["light", "dark"], width: int) -> None:
    """Show the page so, and all of it at once: a colour that changes has no contrast to measure."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
    page.evaluate(DRAWN)
    moving = page.evaluate(MOVING)
    assert moving == [], "somebody who asked for no motion is shown some"


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
