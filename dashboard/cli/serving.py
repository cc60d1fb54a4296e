"""`run`: the dashboard itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from dashboard.cli.common import fail, settings_of, tasks_option


@click.command()
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one (8000).")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder (instance).")
@click.option("--database", help="Database URL (an SQLite file in the data folder).")
@tasks_option
@click.option("--demo", is_flag=True, default=None, help="Add sample jobs and a week of history.")
@click.option("--timezone", help="Time zone of jobs that name none (UTC).")
@click.option("--shutdown-grace", type=float, help="Seconds that runs get to end at stop (30).")
def run(**options: Any) -> None:
    """Run the dashboard until Ctrl-C or SIGTERM."""
    from dashboard.server import serve  # noqa: PLC0415 -- other commands need no server

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = settings_of(**options)
    try:
        raise SystemExit(serve(settings))
    except OSError as error:
        fail(f"cannot start: {error}")
