"""The command line: `apscheduler-dashboard run`, and what one needs when there is no browser."""

from __future__ import annotations

import click

from dashboard.cli.checkup import doctor
from dashboard.cli.group import Commands
from dashboard.cli.jobs import job
from dashboard.cli.people import user
from dashboard.cli.serving import run, worker
from dashboard.cli.tokens import token
from dashboard.cli.upkeep import backup, db, prune


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run and look after an operations dashboard for scheduled Python jobs."""


for _command in (run, worker, user, token, job, prune, backup, doctor, db):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command: exits with 0 on success, 1 on failure, 2 on wrong usage."""
    cli.main(arguments, prog_name="apscheduler-dashboard")
