"""Send a running dashboard ten minutes of requests that schemathesis makes up from openapi.json.

A real dashboard with its sample jobs is started in a temporary folder. What is found is printed
with a curl command that shows it again, and with the seed that finds it again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.product import ROOT, running

MINUTES = 10
CHECKED = (
    "--phases=examples,coverage,fuzzing",
    "--exclude-checks=positive_data_acceptance",  # no description can tell which tasks there are
    "--continue-on-failure",
    "--generation-database=none",
    "--warnings=off",
)


def main() -> int:
    """Return 0 if the API did what it says, whatever was sent."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), "--demo", DASHBOARD_API_RATE="1000000") as product,
    ):
        key = make_token(folder)
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", *CHECKED]
        command += [f"--max-time={MINUTES * 60}", "--max-examples=100000"]
        command += [f"--header=Authorization: Bearer {key}", *sys.argv[1:]]
        command += [f"{product.url}/api/v1/openapi.json"]
        return subprocess.run(command, cwd=folder, check=False).returncode


def make_token(folder: str) -> str:
    """Make a token that may do everything."""
    code = "from dashboard.cli import main; main()"
    options = ["--name=fuzz", "--role=admin", "--json", f"--data={folder}"]
    made = subprocess.run(
        [sys.executable, "-c", code, "token", "add", *options],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    key: str = json.loads(made.stdout)["token"]
    return key


if __name__ == "__main__":
    sys.exit(main())
