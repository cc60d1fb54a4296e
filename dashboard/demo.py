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

from dashboard.history.health import FinishedRun, count_finished, error_line
from dashboard.history.inserts import ROWS_A_QUERY, batches
from dashboard.samples import sample_jobs
from dashboard.scheduling import triggers
from dashboard.services import audit, jobs
from dashboard.storage.models import Job, Origin, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

DAYS = 7
RUNS_A_JOB = 1500
FAILING = 0.03
IN_TROUBLE = "invoice-mails"
"""The job whose newest runs all failed, so that the page Now has something to show."""

SAMPLE_ERRORS = {
    "TimeoutError": "sample failure from --demo: the remote side did not answer in time",
    "ConnectionResetError": "sample failure from --demo: the remote side closed the connection",
    "ValueError": "sample failure from --demo: a row has no customer number",
}


def add_demo(database: Database, settings: Settings) -> None:
    """Fill an empty dashboard; one that has jobs is left alone."""
    now = datetime.now(UTC)
    with database.write() as session:
        if session.scalar(select(Job.id).limit(1)) is not None:
            return
        history: list[dict[str, Any]] = []
        for data in sample_jobs():
            paused, has_past = data.pop("paused", None), data.pop("history", True)
            job = jobs.create_job(session, data, actor=audit.SYSTEM, settings=settings)
            if has_past:
                history += [run for run in _past_runs(job, now) if run["finished_at"] < now]
            if paused:
                jobs.pause_job(session, job.id, reason=paused, actor=audit.SYSTEM)
        # In the order in which they would have been written: the pages sort by run id.
        _write_history(session, sorted(history, key=lambda run: run["scheduled_at"]))


def _write_history(session: Session, runs: list[dict[str, Any]]) -> None:
    for piece in batches(runs, ROWS_A_QUERY):
        ids = session.scalars(insert(Run).returning(Run.id, sort_by_parameter_order=True), piece)
        finished = [
            FinishedRun(
                run_id,
                run["job_id"],
                run["state"],
                run["scheduled_at"],
                run["finished_at"],
                run["duration"],
                error_line(run["error_type"], run["error_message"]),
                fingerprint=run["fingerprint"],
            )
            for run_id, run in zip(ids, piece, strict=True)
        ]
        count_finished(session.connection(), finished)


def _past_runs(job: Job, now: datetime) -> Iterator[dict[str, Any]]:
    chance = random.Random(job.id)  # noqa: S311 -- the same history everywhere, no secret
    # As long as its real runs take, where the job says so; else they would look unusually long.
    usual = job.parameters.get("seconds") or math.exp(chance.uniform(-2.5, 3.0))
    moments = _past_fire_times(job, now)
    trouble_from = len(moments) - 4 if job.id == IN_TROUBLE else len(moments)
    for number, moment in enumerate(moments):
        failed = chance.random() < FAILING or number >= trouble_from
        started = moment + timedelta(seconds=chance.uniform(0.004, 0.03))
        duration = usual * chance.lognormvariate(0, 0.25)
        error = chance.choice(list(SAMPLE_ERRORS)) if number < trouble_from else "TimeoutError"
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
            "error_type": error if failed else None,
            "error_message": SAMPLE_ERRORS[error] if failed else None,
            "traceback": f"{error}: {SAMPLE_ERRORS[error]}\n" if failed else None,
            "fingerprint": f"sample-{error}" if failed else None,
        }


def _past_fire_times(job: Job, now: datetime) -> list[datetime]:
    """Return the newest fire times before `now`, as the trigger has them or would have had them."""
    data = triggers.unanchored(job.trigger)
    begin = now - timedelta(days=DAYS)
    if data["type"] == "interval":
        data["start_date"] = begin.isoformat()
    schedule = triggers.load(data, timezone=job.timezone)
    moments: list[datetime] = []
    moment = schedule.at_or_after(begin)
    while moment is not None and moment < now:
        moments.append(moment)
        moment = schedule.at_or_after(moment + timedelta(microseconds=1))
    return moments[-RUNS_A_JOB:]
