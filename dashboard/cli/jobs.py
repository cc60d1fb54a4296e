"""`job`: what people do with jobs, without a browser."""

from __future__ import annotations

import click

from dashboard.cli.files import export, import_


@click.group()
def job() -> None:
    """Look after jobs."""


job.add_command(export)
job.add_command(import_)
