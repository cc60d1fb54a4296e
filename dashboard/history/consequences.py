"""What the end of a run brings about for its job: another attempt, a pause, the job's own end.

Called inside the transaction that writes the end, so that neither exists without the other.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, insert, literal, or_, select, text, update

from dashboard.history.health import FinishedRun
from dashboard.history.inserts import ROWS_A_QUERY, batches, insert_for
from dashboard.storage.models import (
    ACTIVE_RUN,
    PROBLEMS,
    Audit,
    Job,
    Origin,
    Run,
    RunState,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row

LONGEST_WAIT = 3600
"""Seconds: waits double up to this, unless the first is longer already."""

JITTER = 0.2
"""The share by which a wait varies, so that what failed together is not tried again together."""

AFTER_SUCCESS = "It was to end with its first success."
AFTER_FAILURE = "It was to end with its first failure."

_POLICIES = (
    select(
        Job.id,
        Job.name,
        Job.executor,
        Job.retries,
        Job.retry_wait,
        Job.stop_on_success,
        Job.stop_on_failure,
    )
    .where(Job.id.in_(bindparam("ids", expanding=True)))
    .order_by(Job.id)
    # Held until the end is written: nobody removes the job in between.
    .with_for_update(read=True, key_share=True)
)


def policies(connection: Connection, job_ids: Collection[str]) -> dict[str, Row[Any]]:
    """Return what jobs want done when a run ends; those that were removed are missing."""
    found: dict[str, Row[Any]] = {}
    for ids in batches(sorted(job_ids), ROWS_A_QUERY):
        found |= {row.id: row for row in connection.execute(_POLICIES, {"ids": ids})}
    return found


def queue_retries(
    connection: Connection, runs: Iterable[Any], known: Mapping[str, Row[Any]], now: datetime
) -> set[int]:
    """Write the next attempt of those of `runs`, all of them failed, that are to be tried again.

    A run needs `id`, `job_id` and `attempt`. Returns the ids of the runs that have another attempt.
    The unique key keeps it from being written twice, whoever tells that the run has ended.
    """
    again = [
        (run, known[run.job_id])
        for run in runs
        if run.job_id in known and run.attempt <= known[run.job_id].retries
    ]
    if again:
        connection.execute(
            _next_attempt(connection.dialect.name),
            [
                {
                    "of_run": run.id,
                    "name": job.name,
                    "of_executor": job.executor,
                    "now": now,
                    "later": now + timedelta(seconds=wait_before(run.attempt, job.retry_wait)),
                }
                for run, job in again
            ],
        )
    return {run.id for run, _job in again}


def wait_before(attempt: int, first: int) -> float:
    """Return the seconds to wait after so many attempts, the wait after the first being `first`."""
    wait = min(first * 2.0 ** min(attempt - 1, 30), max(LONGEST_WAIT, first))
    return wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 -- no secret


@cache
def _next_attempt(dialect_name: str) -> Any:
    values: dict[str, Any] = {
        "job_id": Run.job_id,
        "job_name": bindparam("name"),
        "task": Run.task,
        "parameters": Run.parameters,
        "scheduled_at": Run.scheduled_at,
        "attempt": Run.attempt + 1,
        "origin": literal(Origin.RETRY, Run.origin.type),
        "state": literal(RunState.QUEUED, Run.state.type),
        "coalesced": literal(0),
        "queued_at": bindparam("now", type_=UtcDateTime),
        "not_before": bindparam("later", type_=UtcDateTime),
        "executor": bindparam("of_executor"),
        "log_dropped": literal(0),
    }
    chosen = select(*values.values()).where(Run.id == bindparam("of_run"))
    return (
        insert_for(dialect_name, Run)
        .from_select(list(values), chosen, include_defaults=False)
        .on_conflict_do_nothing(index_elements=["job_id", "scheduled_at", "attempt"])
    )


def is_retry(run: Run | Row[Any]) -> bool:
    """Say whether nobody asked for a run but the policy of its job."""
    return run.origin is Origin.RETRY and run.requested_by is None


def stop_after(
    connection: Connection, ended: Iterable[FinishedRun], known: Mapping[str, Row[Any]]
) -> list[FinishedRun]:
    """Finish the jobs that were to end with their first success, or their first failure.

    Returns the runs that were cancelled with that, for the caller to count.
    """
    cancelled: list[FinishedRun] = []
    for run in ended:
        job = known.get(run.job_id)
        if job is None:
            continue
        if job.stop_on_success and run.state is RunState.SUCCEEDED:
            reason = AFTER_SUCCESS
        elif job.stop_on_failure and run.state in PROBLEMS and not run.retried:
            reason = AFTER_FAILURE
        else:
            continue
        cancelled += finish_job(connection, run.job_id, reason, run.run_id, run.finished_at)
    return cancelled


def pause_job(connection: Connection, job_id: str, reason: str, run_id: int, now: datetime) -> None:
    """Pause a job because its task asked for it; one that is paused already stays as it is."""
    changed = connection.execute(
        update(Job)
        .where(Job.id == job_id, Job.paused_at.is_(None))
        .values(
            paused_at=now,
            paused_by="the task itself",
            paused_reason=reason,
            resume_at=None,
            next_run_time=None,
            version=Job.version + 1,
            updated_at=now,
        )
    )
    if changed.rowcount:
        _note(connection, "job.pause", job_id, reason, run_id, now)


def finish_job(
    connection: Connection, job_id: str, reason: str, run_id: int, now: datetime
) -> list[FinishedRun]:
    """End a job for good, paused or not, and cancel what its schedule has queued already.

    Returns the runs that were cancelled, for the caller to count.
    """
    changed = connection.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(
            next_run_time=None,
            finished_reason=reason,
            paused_at=None,
            paused_by=None,
            paused_reason=None,
            resume_at=None,
            version=Job.version + 1,
            updated_at=now,
        )
    )
    if not changed.rowcount:
        return []
    _note(connection, "job.finish", job_id, reason, run_id, now)
    return cancel_queued(connection, job_id, f"The job is finished. {reason}", now, asked_too=False)


def cancel_queued(
    connection: Connection, job_id: str, reason: str, now: datetime, *, asked_too: bool
) -> list[FinishedRun]:
    """End what is queued of a job, all of it or only what nobody asked for, and return it."""
    of_schedule = or_(
        Run.origin == Origin.SCHEDULE, and_(Run.origin == Origin.RETRY, Run.requested_by.is_(None))
    )
    cancelled = connection.execute(
        update(Run)
        .where(
            text(ACTIVE_RUN),
            Run.job_id == job_id,
            Run.state == RunState.QUEUED,
            literal(asked_too) | of_schedule,
        )
        .values(state=RunState.CANCELLED, finished_at=now, reason=reason)
        .returning(Run.id, Run.scheduled_at)
    ).all()
    return [
        FinishedRun(run.id, job_id, RunState.CANCELLED, run.scheduled_at, now, None)
        for run in sorted(cancelled)
    ]


def _note(
    connection: Connection, action: str, job_id: str, reason: str, run_id: int, now: datetime
) -> None:
    entry: Sequence[dict[str, Any]] = [
        {
            "at": now,
            "actor": "task",
            "action": action,
            "target": job_id,
            "outcome": "done",
            "detail": {"reason": reason, "run": run_id},
        }
    ]
    connection.execute(insert(Audit), entry)
