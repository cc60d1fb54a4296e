"""A task that forgets old runs."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from pydantic import Field

from dashboard.history.retention import prune
from dashboard.runcontext import current_run
from dashboard.samples.places import current_settings
from dashboard.storage.db import Database
from dashboard.tasks import task


@task(name="dashboard.prune")
def prune_runs(
    retention_days: Annotated[
        float | None,
        Field(description="Empty: as the dashboard's settings say.", gt=0, le=36500),
    ] = None,
    keep_runs: Annotated[
        int | None,
        Field(description="Newest runs kept of each job. Empty: as in the settings.", ge=0),
    ] = None,
    *,
    dry_run: Annotated[bool, Field(description="Only count.")] = False,
) -> dict[str, int]:
    """Delete runs older than the retention time, but never the newest ones of a job.

    The audit log is kept longer, as the dashboard's settings say.
    """
    run = current_run()
    settings = current_settings()
    with closing(Database(settings.database_url)) as database:
        report = prune(
            database,
            retention_days=retention_days or settings.retention_days,
            keep_runs=settings.keep_runs if keep_runs is None else keep_runs,
            audit_days=settings.audit_days,
            dry_run=dry_run,
            progress=lambda jobs, job_id: run.progress(jobs, None, f"jobs looked at, {job_id}"),
        )
    verb = "would be deleted" if dry_run else "deleted"
    run.log(f"{report.runs:,} runs of {report.jobs:,} jobs {verb}")
    return {"runs": report.runs, "statistics": report.statistics, "jobs": report.jobs}
