"""Ask whether a known weakness concerns the locked packages.

The advisories are at PyPI. Where they cannot be reached this says so and lets the checks go on:
what is locked was looked at by whoever locked it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "run.txt"
PATIENCE_SECONDS = 120


def main() -> int:
    """Report known weaknesses; returns 1 if there are any."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off"]
    try:
        asked = subprocess.run(
            [*command, "--format=json", f"--requirement={LOCK}"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        packages = json.loads(asked.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        print(f"pip-audit skipped: the advisories cannot be read ({type(error).__name__}).")
        return 0
    unknown = [package["name"] for package in packages if "vulns" not in package]
    weak = [package for package in packages if package.get("vulns")]
    for package in weak:
        known = ", ".join(each["id"] for each in package["vulns"])
        print(f"{package['name']} {package['version']}: {known}")
    if unknown:
        print(f"pip-audit: no advisories to be had here for {len(unknown)} of {len(packages)}.")
    return 1 if weak else 0


if __name__ == "__main__":
    raise SystemExit(main())
