"""Sample jobs and a made-up week of history, so that a first look shows a living dashboard.

Only an empty dashboard is filled. The jobs are real and go on running; the history is invented,
the same on every machine, and every one of its errors says that it is a sample.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from dashboard.history.health import ROWS_A_QUERY, FinishedRun, batches, count_finished
from dashboard.samples import sample_jobs
from dashboard.scheduling import triggers
from dashboard.services import audit, jobs
from dashboard.storage.models import Job, Origin, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from dashboard.runtime import Runtime

DAYS = 7
RUNS_A_JOB = 700
FAILING = 0.03
SAMPLE_ERROR = "sample failure from --demo: the remote side did not answer in time"


def add_demo(runtime: Runtime) -> None:
    """Fill an empty dashboard; one that has jobs is left alone."""
    now = datetime.now(UTC)
    with runtime.database.write() as session:
        if session.scalar(select(Job.id).limit(1)) is not None:
            return
        for data in sample_jobs():
            paused = data.pop("paused", None)
            history = data.pop("history", True)
            job = jobs.create_job(session, data, actor=audit.SYSTEM, settings=runtime.settings)
            if history:
                _add_week(session, job, now)
            if paused:
                jobs.pause_job(session, job.id, reason=paused, actor=audit.SYSTEM)


def _add_week(session: Session, job: Job, now: datetime) -> None:
    """Write the runs that the job would have had in the last days, as if it had existed."""
    rows = list(_past_runs(job, now))
    finished: list[FinishedRun] = []
    for piece in batches(rows, ROWS_A_QUERY):
        ids = session.scalars(insert(Run).returning(Run.id, sort_by_parameter_order=True), piece)
        finished += [
            FinishedRun(
                run_id,
                job.id,
                row["state"],
                row["scheduled_at"],
                row["finished_at"],
                row["duration"],
                f"{row['error_type']}: {row['error_message']}" if row["error_type"] else None,
            )
            for run_id, row in zip(ids, piece, strict=True)
        ]
    count_finished(session, finished)


def _past_runs(job: Job, now: datetime) -> Iterator[dict[str, Any]]:
    chance = random.Random(job.id)  # noqa: S311 -- the same history everywhere, no secret
    usual = math.exp(chance.uniform(-2.5, 3.0))  # seconds
    for moment in _past_fire_times(job, now):
        failed = chance.random() < FAILING
        started = moment + timedelta(seconds=chance.uniform(0.004, 0.03))
        duration = usual * chance.lognormvariate(0, 0.25)
        yield {
            "job_id": job.id,
            "job_name": job.name,
            "task": job.task,
            "parameters": job.parameters,
            "scheduled_at": moment,
            "attempt": 1,
            "origin": Origin.SCHEDULE,
            "state": RunState.FAILED if failed else RunState.SUCCEEDED,
            "queued_at": started,
            "started_at": started,
            "finished_at": started + timedelta(seconds=duration),
            "duration": duration,
            "executor": job.executor,
            "host": "sample",
            "error_type": "TimeoutError" if failed else None,
            "error_message": SAMPLE_ERROR if failed else None,
            "traceback": f"TimeoutError: {SAMPLE_ERROR}\n" if failed else None,
            "fingerprint": "sample-timeout" if failed else None,
        }


def _past_fire_times(job: Job, now: datetime) -> list[datetime]:
    """Return the newest fire times before `now`, as the trigger has them or would have had them."""
    data = {key: value for key, value in job.trigger.items() if key != "start_date"}
    begin = now - timedelta(days=DAYS)
    if data["type"] == "interval":
        data["start_date"] = begin.isoformat()
    schedule = triggers.load(data, timezone=job.timezone)
    moments: list[datetime] = []
    moment = schedule.at_or_after(begin)
    # Not the last minutes: a run of then could still be going on.
    while moment is not None and moment < now - timedelta(minutes=5):
        moments.append(moment)
        moment = schedule.at_or_after(moment + timedelta(microseconds=1))
    return moments[-RUNS_A_JOB:]
