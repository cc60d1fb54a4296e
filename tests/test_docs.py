"""The examples in docs/ are tried out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from dashboard.cli import cli
from dashboard.samples import register_samples
from dashboard.services.imports import plan_import
from dashboard.services.jobfiles import read_jobs

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

DOCS = Path(__file__).parent.parent / "docs"


def test_the_file_in_the_page_of_commands_can_be_imported(
    database: Database, settings: Settings
) -> None:
    register_samples()
    text = (DOCS / "COMMANDS.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    with database.read() as session:
        plan = plan_import(session, read_jobs(example.encode()), settings=settings)
    assert (plan.problems, len(plan.steps)) == ([], 2)


def test_the_commands_in_the_page_exist() -> None:
    text = (DOCS / "COMMANDS.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    apscheduler-dashboard (.*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        words = re.match(r"(?:[a-z]+ ?)+", line)
        assert words is not None, line
        named = [
            word for word in words[0].split() if word not in {"jobs", "billing", "backup-file"}
        ]
        result = CliRunner().invoke(cli, [*named[:2], "--help"])
        assert result.exit_code == 0, line
