"""The watch that every test of a page stands under notices what it is there for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.factories import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.conftest import Watch


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("console.error('oh dear')", "console error: oh dear"),
        ("setTimeout(() => nobody.defined.this)", "uncaught: .*nobody is not defined"),
        ("document.body.setAttribute('style', 'color: red')", "CSP: style-src"),
        ("fetch('/no-such-page')", "404 for GET .*/no-such-page"),
        ("fetch('http://127.0.0.1:9/')", "127.0.0.1:9"),
    ],
)
def test_it_notices(page: Page, watch: Watch, script: str, complaint: str) -> None:
    page.goto("/")
    page.evaluate(f"() => {{ {script} }}")
    watch.expected.append(complaint)

    def noticed() -> bool:
        page.evaluate("1")  # lets events come in
        return len(watch.unexpected) < len(watch.complaints)

    wait_until(noticed)
    watch.expected.append("")  # some bring further complaints, which may come in later
