from __future__ import annotations

import pytest

from dashboard.web.agents import browser_of


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/149.0 Safari/537.36 Edg/149.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; like Mac OS X) Version/19.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 16) Chrome/149.0 Mobile Safari/537.36", "Chrome on Android"),
        ("backup-script <b>" + "x" * 100, "backup-script <b>" + "x" * 43),
        ("", "Unknown browser"),
    ],
)  # fmt: skip
def test_browsers_are_named(agent: str, name: str) -> None:
    assert browser_of(agent) == name
