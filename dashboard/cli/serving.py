"""`run`: the dashboard itself."""

from __future__ import annotations

import logging
import os
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
    from dashboard.web.logs import RequestNames  # noqa: PLC0415

    handler = logging.StreamHandler()
    handler.addFilter(RequestNames())
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s:%(request)s %(message)s",
        handlers=[handler],
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = settings_of(**options)
    try:
        raise SystemExit(serve(settings))
    except OSError as error:
        fail(f"cannot start: {error}")


@click.command()
@click.option("--queues", default="default", help="Queues to serve, separated by commas (default).")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="Runs at once (the number of processors)."
)
@click.option("--data", type=click.Path(path_type=Path), help="Data folder (instance).")
@click.option("--database", help="Database URL (an SQLite file in the data folder).")
@tasks_option
@click.option("--shutdown-grace", type=float, help="Seconds that runs get to end at stop (30).")
def worker(queues: str, concurrency: int | None, **options: Any) -> None:
    """Execute runs as a Celery worker until Ctrl-C or SIGTERM."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = settings_of(**options)
    if not settings.celery_broker:
        raise click.UsageError("DASHBOARD_CELERY_BROKER is not set: there is nothing to serve.")
    names = [name.strip() for name in queues.split(",") if name.strip()]
    if unknown := sorted(set(names) - {"default", *settings.celery_queues}):
        raise click.UsageError(
            f"There is no queue {', '.join(unknown)}; name it in DASHBOARD_CELERY_QUEUES."
        )
    from dashboard.worker import work  # noqa: PLC0415 -- an extra, and slow to import

    raise SystemExit(work(settings, names, concurrency or os.cpu_count() or 1))
