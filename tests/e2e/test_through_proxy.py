"""People in a browser, behind the nginx of docs/SECURITY.md: locked out, rescued, signed on."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.e2e.product import ROOT, running
from tests.e2e.test_behind_nginx import NAME, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from playwright.sync_api import Browser, Page

    from tests.e2e.product import Product

SETTINGS = {
    "DASHBOARD_PUBLIC_URL": f"https://{NAME}",
    "DASHBOARD_TRUSTED_PROXIES": "127.0.0.1",
}
PATIENCE = 15_000
RIGHT = "a long and right password"


@contextmanager
def opened(browser: Browser, port: int) -> Iterator[Page]:
    """Open a window of somebody who is not signed in; the proxy's certificate is made up."""
    context = browser.new_context(ignore_https_errors=True, base_url=f"https://127.0.0.1:{port}")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def user(product: Product, *arguments: str) -> None:
    """Run a command on the machine itself, the password given where it asks for one."""
    command = [sys.executable, "-m", "dashboard", "user", *arguments, "--password-stdin"]
    subprocess.run(
        [*command, f"--data={product.data}"],
        cwd=ROOT, input=f"{RIGHT}\n", text=True, check=True, capture_output=True,
    )  # fmt: skip


def sign_in(page: Page, password: str) -> None:
    page.goto("/login")
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_who_is_locked_out_is_rescued_and_has_their_role(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rescued")
    with (
        running(folder / "data", **SETTINGS) as product,
        nginx(folder / "nginx", product) as port,
        opened(browser, port) as page,
    ):
        user(product, "add", "ann", "--role=operator")
        for _ in range(5):
            sign_in(page, "a wrong guess")
            expect(page.get_by_text("is wrong")).to_be_visible()
        sign_in(page, RIGHT)
        expect(page.get_by_text("Too many failed attempts")).to_be_visible()
        user(product, "password", "ann")
        sign_in(page, RIGHT)
        expect(page.get_by_role("heading", level=1, name="Now")).to_be_visible()
        page.goto("/jobs")
        expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_visible()
        expect(page.get_by_role("button", name="New job")).to_have_count(0)
        page.goto("/people")
        expect(page.get_by_text("This needs the role “admin”")).to_be_visible()


def test_who_is_signed_on_at_the_proxy_need_not_sign_in(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("signed-on")
    single = {"DASHBOARD_PROXY_USER_HEADER": "Remote-User"}
    with (
        running(folder / "data", **SETTINGS, **single) as product,
        nginx(folder / "nginx", product, "proxy_set_header Remote-User lea;") as port,
        opened(browser, port) as page,
    ):
        page.goto("/profile")
        expect(page.get_by_text("Signed in as lea, with the role viewer")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out", exact=True)).to_have_count(0)
