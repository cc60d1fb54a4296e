"""Set up what the tests need beside Python packages: a browser, PostgreSQL, Redis, nginx.

On Debian and its descendants root gets the missing ones from apt; elsewhere Playwright is asked for
its browser. Where neither works this says what is missing and how to get it, and the tests that
need it say that they are skipped. In continuous integration (`CI` is set) it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.browser import find_browser
from tests.servers import find_nginx, find_postgresql, find_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Need:
    """Something the tests use: its name, how it is found, the apt packages that bring it."""

    name: str
    find: Callable[[], object]
    packages: tuple[str, ...]  # the first one that this release has is taken


NEEDS = (
    # Debian's headless shell is a quarter of the whole browser's size.
    Need("a browser", find_browser, ("chromium-headless-shell", "chromium")),
    Need("PostgreSQL", find_postgresql, ("postgresql",)),
    Need("Redis", find_redis, ("redis-server",)),
    Need("nginx", find_nginx, ("nginx-light", "nginx")),
)


def missing() -> list[Need]:
    """Look for everything anew."""
    return [need for need in NEEDS if not need.find()]


def install_with_apt(needs: Iterable[Need]) -> None:
    """Install Debian packages; apt itself says what goes wrong."""
    if run("apt-get", "update", "--quiet"):
        packages = [name for need in needs if (name := offered(need.packages))]
        run("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages)


def offered(packages: Iterable[str]) -> str | None:
    """Return the first of the packages that apt can install."""
    for name in packages:
        simulated = subprocess.run(
            ["apt-get", "install", "--simulate", "--quiet", name],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if simulated.returncode == 0:
            return name
    return None


def run(*command: str) -> bool:
    """Run a program with its output in sight, and tell whether it worked."""
    print("$", *command, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return False
    return done.returncode == 0


def main() -> int:
    """Install what is missing and report what still is."""
    needs = missing()
    if not needs:
        return 0
    has_apt = shutil.which("apt-get") is not None
    if has_apt and os.geteuid() == 0:
        install_with_apt(needs)
    if find_browser() is None:
        run(sys.executable, "-m", "playwright", "install", "chromium")
    needs = missing()
    in_ci = bool(os.environ.get("CI"))
    consequence = "CI needs it." if in_ci else "Tests that need it will be skipped."
    for need in needs:
        print(f"Not set up: {need.name}. {consequence}")
    if needs and has_apt and os.geteuid() != 0:
        packages = " ".join(need.packages[0] for need in needs)
        print(f"To get it: sudo apt-get install --no-install-recommends {packages}")
    return 1 if needs and in_ci else 0


if __name__ == "__main__":
    raise SystemExit(main())
