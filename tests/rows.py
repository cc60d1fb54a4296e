"""Rows for tests that read: runs and jobs, filled in where a test does not care."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.history.run_list import ListedRun
from dashboard.storage.models import Job, Origin, Run, RunState

EPOCH = datetime(2027, 3, 1, 12, tzinfo=UTC)


def make_job(job_id: str = "nightly", **values: Any) -> Job:
    """Return a job that runs every hour."""
    defaults: dict[str, Any] = {
        "name": job_id,
        "task": "reports.daily",
        "parameters": {},
        "trigger": {"type": "interval", "hours": 1, "start_date": EPOCH.isoformat()},
        "timezone": "UTC",
        "executor": "threads",
        "coalesce": True,
        "max_instances": 1,
        "misfire_grace_time": 60,
        "next_run_time": EPOCH + timedelta(hours=1),
        "tags": [],
        "notes": "",
        "created_at": EPOCH,
        "created_by": "admin",
        "updated_at": EPOCH,
        "updated_by": "admin",
    }
    return Job(id=job_id, **(defaults | values))


def make_run(number: int, job_id: str = "nightly", **values: Any) -> Run:
    """Return the run with the id `number`, of that many seconds after `EPOCH`; it succeeded."""
    moment = EPOCH + timedelta(seconds=number)
    defaults: dict[str, Any] = {
        "job_name": job_id,
        "task": "reports.daily",
        "parameters": {"day": "2027-03-01"},
        "scheduled_at": moment,
        "attempt": 1,
        "origin": Origin.SCHEDULE,
        "state": RunState.SUCCEEDED,
        "queued_at": moment,
        "executor": "threads",
    }
    values = defaults | values
    if values["state"] not in {RunState.QUEUED, RunState.MISSED, RunState.SKIPPED}:
        values = {"started_at": moment, "host": "worker-1", "process": "worker-1:7:abc"} | values
        if values["state"] is not RunState.RUNNING:
            end = {"finished_at": moment + timedelta(seconds=2), "duration": 2.0}
            values = end | values
    return Run(id=number, job_id=job_id, **values)


def listed(run: Run, *, usual: float | None = None, long: float | None = None) -> ListedRun:
    """Return a run as lists of runs have it."""
    values: dict[str, Any] = {"usual_duration": usual, "long_duration": long}
    columns = [field.name for field in fields(ListedRun) if field.name not in values]
    return ListedRun(**values, **{name: getattr(run, name) for name in columns})
