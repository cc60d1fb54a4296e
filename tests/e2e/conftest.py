"""A real server, a real browser, and a person who is signed in."""

from __future__ import annotations

import functools
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser import find_browser
from tests.conftest import unavailable
from tests.e2e.people import Colleague, sign_in
from tests.e2e.product import ROOT, Product, running
from tests.factories import PATIENCE
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from playwright.sync_api import (
        BrowserContext,
        ConsoleMessage,
        Playwright,
        Request,
        Response,
        StorageState,
        WebError,
    )

TASKS = ROOT / "tests/e2e/tasks_for_tests.py"
OPTIONS = (f"--tasks={TASKS}", "--shutdown-grace=5")
LAST_LINES = 60

expect.set_options(timeout=PATIENCE * 1000)

TELL_OF_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} blocks ${event.blockedURI} ${event.sample}`));
"""


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The dashboard that most tests share; each acts on jobs of its own."""
    with running(tmp_path_factory.mktemp("product"), *OPTIONS) as product:
        yield product


@pytest.fixture
def own_product(tmp_path: Path) -> Iterator[Product]:
    """A dashboard of one test's own, empty; a test that asks for it looks at this one.

    Its port is no ephemeral one, because such a port cannot be used again at once.
    """
    with running(tmp_path / "own", *OPTIONS, f"--port={free_port()}") as product:
        yield product


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Product:
    """The dashboard that the test looks at."""
    own = "own_product" in request.fixturenames
    product: Product = request.getfixturevalue("own_product" if own else "product")
    return product


@pytest.fixture(scope="session")
def cookies_of(playwright: Playwright) -> Callable[[Product], StorageState]:
    """Signs in at a dashboard, once: checking a password takes long on purpose.

    Not once at an address, which the next dashboard may have again.
    """
    return functools.cache(lambda product: sign_in(playwright, product.url))


# -- the browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def base_url() -> str:
    """No address is the same for all tests: see `browser_context_args`."""
    return ""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Drive whichever browser there is; as root, without the sandbox that root cannot have."""
    path = find_browser()
    if path is None:
        unavailable("a browser")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {**browser_type_launch_args, "executable_path": path, "args": arguments}


@pytest.fixture
def browser_context_args(
    browser_context_args: dict[str, Any],
    shown: Product,
    cookies_of: Callable[[Product], StorageState],
) -> dict[str, Any]:
    """Every window is a signed-in person's, at a desk in Berlin."""
    return {
        **browser_context_args,
        "base_url": shown.url,
        "storage_state": cookies_of(shown),
        "viewport": {"width": 1440, "height": 900},
        "locale": "en-GB",
        "timezone_id": "Europe/Berlin",
        "reduced_motion": "reduce",  # colours that are still changing have no contrast to measure
    }


@pytest.fixture
def context(context: BrowserContext, watch: Watch) -> BrowserContext:
    """The browser window of the test, watched."""
    context.set_default_timeout(PATIENCE * 1000)
    watch.over(context)
    return context


@dataclass
class Watch:
    """Collects what a browser complains about; what a test provokes is `expected`, by pattern."""

    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        context.add_init_script(TELL_OF_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("response", self._response)
        context.on("requestfailed", self._failed)

    @property
    def unexpected(self) -> list[str]:
        return [
            complaint
            for complaint in self.complaints
            if not any(re.search(pattern, complaint) for pattern in self.expected)
        ]

    def _console(self, message: ConsoleMessage) -> None:
        # Answers are judged below: a refusal that a page shows to a person is no failure.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _error(self, error: WebError) -> None:
        self.complaints.append(f"uncaught: {error.error}")

    def _response(self, response: Response) -> None:
        kind = response.request.resource_type
        allowed = {401, 409, 422} if kind in {"document", "fetch", "xhr"} else set()
        if response.status >= 400 and response.status not in allowed:
            self.complaints.append(
                f"{response.status} for {response.request.method} {response.url}"
            )

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it was still asking for.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.failure} for {request.method} {request.url}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What no test may cause: errors in the console, refused or failed requests, 5xx."""
    watch = Watch()
    yield watch
    assert watch.unexpected == []


# -- people ----------------------------------------------------------------------------------------


@pytest.fixture
def colleague(
    playwright: Playwright,
    product: Product,
    shown: Product,
    cookies_of: Callable[[Product], StorageState],
) -> Iterator[Colleague]:
    """Somebody else who is signed in; what they add is removed from the shared dashboard."""
    with Colleague.at(playwright, shown.url, cookies_of(shown)) as colleague:
        yield colleague
        if shown is product:
            colleague.tidy_up()


@pytest.fixture
def job_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    words = request.node.originalname.removeprefix("test_").replace("_", " ")
    return f"{words} {uuid.uuid4().hex[:6]}"


# -- failures --------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, beside a failure, what the servers wrote."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Product):
                lines = value.said.splitlines()[-LAST_LINES:]
                report.sections.append((f"Log of {name}", "\n".join(lines)))
    return report
