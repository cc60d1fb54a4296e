"""Which browser the end-to-end tests drive."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SYSTEM_BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
ASK_PLAYWRIGHT = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


def find_browser() -> str | None:
    """Return the browser's path: Playwright's own download if there is one, else the system's.

    Playwright is asked in a process of its own, because its synchronous form cannot be started
    twice in one thread and pytest-playwright starts it too.
    """
    asked = subprocess.run(
        [sys.executable, "-c", ASK_PLAYWRIGHT], capture_output=True, text=True, check=False
    )
    download = asked.stdout.strip()
    if asked.returncode == 0 and Path(download).is_file():
        return download
    return next(filter(None, map(shutil.which, SYSTEM_BROWSERS)), None)
