"""The first half of a tick: fire times that are due become rows.

A fire time is consumed if and only if its run is a row, because the row and the job's next run
time are written by the same transaction.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, cast, func, literal, or_, select, text, update

from dashboard.errors import Invalid
from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.inserts import ROWS_A_QUERY, batches, insert_for
from dashboard.scheduling import duetimes
from dashboard.scheduling.lifecycle import why_finished
from dashboard.storage.models import (
    ACTIVE_RUN,
    HOST,
    Job,
    Origin,
    Run,
    RunState,
    UtcDateTime,
)
from dashboard.texts import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from dashboard.scheduling.triggers import Schedule

logger = logging.getLogger(__name__)

DUE_A_TICK = 200
"""Jobs looked at in one transaction: some milliseconds, so that free slots do not wait long."""

TOGETHER = 10
"""So many jobs that fire next at the same moment are advanced by one statement of their own."""

JOB_COLUMNS: tuple[Any, ...] = (
    Job.id,
    Job.name,
    Job.task,
    cast(Job.parameters, Text).label("parameters"),  # the database copies them, as a rule
    cast(Job.trigger, Text).label("trigger"),  # the key of parsed ones; seldom read
    Job.timezone,
    Job.executor,
    Job.coalesce,
    Job.max_instances,
    Job.misfire_grace_time,
    Job.next_run_time,
    Job.max_runs,
    Job.runs_counted,
    Job.end_at,
)

# Statements of the hot path are built once: building one costs five times its execution.
_DUE = (
    select(*JOB_COLUMNS)
    .where(
        Job.next_run_time <= bindparam("now"),
        Job.paused_at.is_(None),
        Job.broken_reason.is_(None),
        Job.executor != HOST,
    )
    .order_by(Job.next_run_time)
    .limit(DUE_A_TICK)
    # No stronger lock: jobs whose runs are just being written must not be skipped.
    .with_for_update(skip_locked=True, key_share=True)
)
_COUNT = (
    update(Job)
    .where(Job.id == bindparam("of_job"))
    .values(runs_counted=Job.runs_counted + bindparam("counted"))
)
_ADVANCED = update(Job).values(
    next_run_time=bindparam("following"), finished_reason=bindparam("end")
)
_ADVANCE = _ADVANCED.where(Job.id == bindparam("of_job"))
_ADVANCE_TOGETHER = _ADVANCED.where(Job.id.in_(bindparam("ids", expanding=True)))
# A run of this process that is not in flight has ended; its row will say so in a moment.
_ACTIVE_COUNTS = (
    select(Run.job_id, func.count())
    .where(
        text(ACTIVE_RUN),
        Run.job_id.in_(bindparam("ids", expanding=True)),
        Run.not_before.is_(None),  # a retry that waits for its moment is no instance yet
        or_(
            Run.process.is_(None),
            Run.process != bindparam("me"),
            Run.id.in_(bindparam("in_flight", expanding=True)),
        ),
    )
    .group_by(Run.job_id)
)
_COPIED = {"job_name": Job.name, "task": Job.task, "parameters": Job.parameters}


@cache
def _claim_on_time(dialect_name: str) -> Any:
    """Write the runs of jobs whose only due fire time is their next run time.

    By far the most frequent case, and done inside the database: nothing travels but ids.
    """
    values: dict[str, Any] = {
        "job_id": Job.id,
        **_COPIED,
        "scheduled_at": Job.next_run_time,
        "attempt": literal(1),
        "origin": literal(Origin.SCHEDULE, Run.origin.type),
        "state": literal(RunState.QUEUED, Run.state.type),
        "coalesced": literal(0),
        "queued_at": bindparam("now", type_=UtcDateTime),
        "executor": Job.executor,
        "log_dropped": literal(0),
    }
    chosen = select(*values.values()).where(Job.id.in_(bindparam("ids", expanding=True)))
    return (
        insert_for(dialect_name, Run)
        .from_select(list(values), chosen, include_defaults=False)
        .on_conflict_do_nothing(index_elements=["job_id", "scheduled_at", "attempt"])
    )


@cache
def _claim_insert(dialect_name: str) -> Any:
    return insert_for(dialect_name, Run).on_conflict_do_nothing(
        index_elements=["job_id", "scheduled_at", "attempt"]
    )


@dataclass
class Due:
    """What became of the jobs that were due."""

    queued: list[tuple[str, datetime]] = field(default_factory=list)
    missed: list[tuple[str, datetime]] = field(default_factory=list)
    skipped: list[tuple[str, datetime]] = field(default_factory=list)
    more: bool = False  # there is more that is due already

    @property
    def any(self) -> bool:
        """Whether a run was written."""
        return bool(self.queued or self.missed or self.skipped)


def claim_due(
    connection: Connection,
    now: datetime,
    schedule_of: Callable[[str, str], Schedule],
    *,
    process: str = "",
    in_flight: Sequence[int] = (),
) -> Due:
    """Write a run for every fire time up to `now` and advance the jobs past it.

    Runs of `process` count as running only while they are `in_flight`: a job must not be skipped
    because the row of its last run is written a moment after the run has ended.
    """
    due = Due()
    jobs = connection.execute(_DUE, {"now": now}).all()
    if not jobs:
        return due
    due.more = len(jobs) == DUE_A_TICK
    active = _active_counts(connection, [job.id for job in jobs], process, in_flight)
    batch = _Batch(now)
    for job in jobs:
        if batch.fire_times >= duetimes.FIRE_TIMES_A_TICK:
            due.more = True
            break
        until = now if job.end_at is None else min(now, job.end_at)
        try:
            fire_times, dropped, following = duetimes.due_fire_times(
                job, schedule_of(job.trigger, job.timezone), until
            )
        except Exception as error:  # noqa: BLE001 -- one bad trigger must not stop all other jobs
            _mark_broken(connection, job.id, error)
            continue
        busy = active.get(job.id, 0) >= job.max_instances
        following = batch.take(job, fire_times, dropped, following, busy=busy)
        due.more = due.more or (following is not None and following <= now)
    _write(connection, batch, due)
    return due


@dataclass
class _Batch:
    """What becomes of the jobs that are due: their runs, and when they fire next."""

    now: datetime
    fire_times: int = 0  # that were gone through, those that coalescing drops included
    on_time: list[Row[Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    advanced: defaultdict[tuple[datetime | None, str | None], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )  # ids of jobs, by when they fire next and why not any more
    counted: list[dict[str, Any]] = field(default_factory=list)

    def take(
        self,
        job: Row[Any],
        fire_times: Sequence[datetime],
        dropped: Sequence[datetime],
        following: datetime | None,
        *,
        busy: bool,
    ) -> datetime | None:
        """Add the runs of a job, and return when it fires next: never, when it is to end now."""
        self.fire_times += len(fire_times) + len(dropped)
        queued = 1
        late = is_too_late(fire_times[0], self.now, job.misfire_grace_time)
        if [*fire_times] == [job.next_run_time] and not (busy or late):
            self.on_time.append(job)
        else:
            runs = [_claimed_run(job, time, dropped, self.now, busy=busy) for time in fire_times]
            runs = _as_many_as_wanted(job, runs)
            queued = sum(run["state"] is RunState.QUEUED for run in runs)
            self.runs += runs
        end = why_finished(job, following, counted=queued)
        following = None if end else following
        self.advanced[following, end].append(job.id)
        if job.max_runs is not None and queued:
            self.counted.append({"of_job": job.id, "counted": queued})
        return following


def _as_many_as_wanted(job: Row[Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the runs beyond `max_runs`; what is missed or skipped does not count towards it."""
    if job.max_runs is None:
        return runs
    left = job.max_runs - job.runs_counted
    kept = []
    for run in runs:
        if left <= 0:
            break
        kept.append(run)
        left -= run["state"] is RunState.QUEUED
    return kept


def _active_counts(
    connection: Connection, job_ids: Sequence[str], process: str, in_flight: Sequence[int]
) -> dict[str, int]:
    counts: dict[str, int] = {}
    for ids in batches(job_ids, ROWS_A_QUERY):
        values = {"ids": ids, "me": process, "in_flight": in_flight}
        counts |= dict(connection.execute(_ACTIVE_COUNTS, values).all())
    return counts


def _write(connection: Connection, batch: _Batch, due: Due) -> None:
    """Write the runs, which become part of `due`, and how far their jobs have come."""
    _insert_on_time(connection, batch.on_time, batch.now, due)
    _insert(connection, batch.runs, due)
    _advance(connection, batch)
    if batch.counted:
        connection.execute(_COUNT, batch.counted)


def _advance(connection: Connection, batch: _Batch) -> None:
    """Write when the jobs fire next; where many fire at one moment, they often do so again."""
    alone: list[dict[str, Any]] = []
    for (following, end), job_ids in batch.advanced.items():
        values = {"following": following, "end": end}
        if len(job_ids) < TOGETHER:
            alone += [{"of_job": job_id, **values} for job_id in job_ids]
        else:
            connection.execute(_ADVANCE_TOGETHER, {"ids": job_ids, **values})
    if alone:
        connection.execute(_ADVANCE, alone)


def _insert_on_time(
    connection: Connection, jobs: Sequence[Row[Any]], now: datetime, due: Due
) -> None:
    statement = _claim_on_time(connection.dialect.name)
    for piece in batches(jobs, ROWS_A_QUERY):
        connection.execute(statement, {"ids": [job.id for job in piece], "now": now})
        due.queued += [(job.id, job.next_run_time) for job in piece]


def _claimed_run(
    job: Row[Any], moment: datetime, dropped: Sequence[datetime], now: datetime, *, busy: bool
) -> dict[str, Any]:
    state, reason = RunState.QUEUED, None
    if is_too_late(moment, now, job.misfire_grace_time):
        state, reason = RunState.MISSED, too_late(moment, now, job.misfire_grace_time)
    elif busy:
        state, reason = RunState.SKIPPED, _too_many(job.max_instances)
    return {
        "job_id": job.id,
        "job_name": job.name,
        "task": job.task,
        "parameters": json.loads(job.parameters),
        "scheduled_at": moment,
        "attempt": 1,
        "origin": Origin.SCHEDULE,
        "state": state,
        "reason": reason,
        "coalesced": len(dropped),
        "coalesced_since": dropped[0] if dropped else None,
        "coalesced_times": dropped or None,
        "queued_at": now,
        "finished_at": None if state is RunState.QUEUED else now,
        "executor": job.executor,
        "log_dropped": 0,
    }


def is_too_late(moment: datetime, now: datetime, grace: int | None) -> bool:
    """Say whether a run of `moment` may no longer start, `grace` in seconds."""
    return grace is not None and (now - moment).total_seconds() > grace


def too_late(moment: datetime, now: datetime, grace: int | None) -> str:
    """Say why a run is missed."""
    late = (now - moment).total_seconds()
    return f"It could start only {late:,.0f} s late; its misfire grace time is {grace:,} s."


def _too_many(limit: int) -> str:
    instances = "one instance" if limit == 1 else f"{limit} instances"
    return f"The job was still busy, and it allows {instances} at a time (max instances)."


def _insert(connection: Connection, runs: list[dict[str, Any]], due: Due) -> None:
    """Write claimed runs; one that exists already was claimed before and is left as it is.

    That happens when the clock jumps back, or when two processes both believe that they lead.
    """
    if not runs:
        return
    ended = [run for run in runs if run["state"] is not RunState.QUEUED]
    queued = [run for run in runs if run["state"] is RunState.QUEUED]
    statement = _claim_insert(connection.dialect.name)
    if queued:
        connection.execute(statement, queued)
        due.queued += [(run["job_id"], run["scheduled_at"]) for run in queued]
    for piece in batches(ended, ROWS_A_QUERY):
        _insert_ended(connection, statement, piece, due)


def _insert_ended(
    connection: Connection, statement: Any, runs: Sequence[dict[str, Any]], due: Due
) -> None:
    """Write runs that never start, and count those that are really new."""
    columns = (Run.id, Run.job_id, Run.scheduled_at, Run.state, Run.finished_at)
    written = connection.execute(statement.returning(*columns), list(runs)).all()
    count_finished(
        connection,
        [
            FinishedRun(run.id, run.job_id, run.state, run.scheduled_at, run.finished_at, None)
            for run in written
        ],
    )
    for run in written:
        group = due.missed if run.state is RunState.MISSED else due.skipped
        group.append((run.job_id, run.scheduled_at))


def _mark_broken(connection: Connection, job_id: str, error: Exception) -> None:
    """Keep a job whose trigger fails, and say why; it fires no more until it is repaired."""
    reason = f"Its trigger cannot be read: {error}"
    if not isinstance(error, Invalid):
        logger.error("the trigger of job %s failed", job_id, exc_info=error)
        reason = f"Its trigger failed: {error!r}"
    connection.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(broken_reason=storable(reason[:2000]), version=Job.version + 1)
    )
