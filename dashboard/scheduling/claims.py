"""The tick's work inside its transaction: due fire times become rows, rows become running.

A fire time is consumed if and only if its run is a row, because both are written by the same
transaction. A queued row belongs to nobody; only as many as there are free slots become
`running`, so a crash leaves at most a pool's worth of runs in doubt.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, cast, func, select, text, update

from dashboard.errors import Invalid
from dashboard.history.health import (
    ROWS_A_QUERY,
    FinishedRun,
    batches,
    count_finished,
    insert_for,
)
from dashboard.records import RunIdentity
from dashboard.scheduling.executors import Claim
from dashboard.storage.models import ACTIVE_RUN, Job, Origin, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Row, Select

    from dashboard.scheduling.leader import Identity
    from dashboard.scheduling.triggers import Schedule

DUE_A_TICK = 500
"""Jobs looked at in one transaction, which keeps it to some ten milliseconds."""

FIRE_TIMES_A_TICK = 1000
"""Fire times of one job written in one transaction, and the most that are counted as coalesced."""

MOMENT = timedelta(microseconds=1)

JOB_COLUMNS = (
    Job.id,
    Job.name,
    Job.task,
    Job.parameters,
    cast(Job.trigger, Text).label("trigger"),  # the key of parsed ones; seldom read
    Job.timezone,
    Job.executor,
    Job.coalesce,
    Job.max_instances,
    Job.misfire_grace_time,
    Job.next_run_time,
)


# Statements of the hot path are built once: building one costs five times its execution.
_DUE = (
    select(*JOB_COLUMNS)
    .where(
        Job.next_run_time <= bindparam("now"), Job.paused_at.is_(None), Job.broken_reason.is_(None)
    )
    .order_by(Job.next_run_time)
    .limit(DUE_A_TICK)
    .with_for_update(skip_locked=True)
)
_ADVANCE = (
    update(Job)
    .where(Job.id == bindparam("of_job"))
    .values(next_run_time=bindparam("following"), finished_reason=bindparam("end"))
)
_ACTIVE_COUNTS = (
    select(Run.job_id, func.count())
    .where(text(ACTIVE_RUN), Run.job_id.in_(bindparam("ids", expanding=True)))
    .group_by(Run.job_id)
)
_START = (
    update(Run)
    .where(Run.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=RunState.RUNNING,
        started_at=bindparam("now"),
        host=bindparam("on_host"),
        process=bindparam("in_process"),
    )
)
_ANY_QUEUED = select(Run.id).where(text(ACTIVE_RUN), Run.state == RunState.QUEUED).limit(1)


def _waiting() -> Select[Any]:
    """Select the oldest queued runs of an executor whose job has an instance to spare."""
    busy = Run.__table__.alias("busy")
    running = (
        select(func.count())
        .select_from(busy)
        .where(busy.c.job_id == Run.job_id, text("busy." + ACTIVE_RUN), busy.c.state == "running")
        .correlate(Run)
        .scalar_subquery()
    )
    return (
        select(
            Run.id,
            Run.job_id,
            Run.task,
            Run.parameters,
            Run.scheduled_at,
            Run.attempt,
            Run.origin,
            Job.misfire_grace_time,
            Job.max_instances,
            running.label("running"),
        )
        .join(Job, Job.id == Run.job_id)
        .where(
            Run.state == RunState.QUEUED,
            Run.executor == bindparam("of_executor"),
            running < Job.max_instances,
        )
        .order_by(Run.id)
        .limit(bindparam("slots"))
        .with_for_update(of=Run, skip_locked=True)
    )


_WAITING = _waiting()


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


def claim_due(
    connection: Connection, now: datetime, schedule_of: Callable[[str, str], Schedule]
) -> Due:
    """Write a run for every fire time up to `now` and advance the jobs past it."""
    due = Due()
    jobs = connection.execute(_DUE, {"now": now}).all()
    if not jobs:
        return due
    due.more = len(jobs) == DUE_A_TICK
    active = _active_counts(connection, [job.id for job in jobs])
    runs: list[dict[str, Any]] = []
    advanced: list[dict[str, Any]] = []
    for job in jobs:
        try:
            fire_times, coalesced, following = due_fire_times(
                job, schedule_of(job.trigger, job.timezone), now
            )
        except Invalid as error:
            mark_broken(connection, job.id, f"Its trigger cannot be read: {error}")
            continue
        runs += [
            _claimed_run(job, moment, coalesced, now, active.get(job.id, 0))
            for moment in fire_times
        ]
        due.more = due.more or (following is not None and following <= now)
        end = None if following else "Its trigger has no further fire time."
        advanced.append({"of_job": job.id, "following": following, "end": end})
    _insert(connection, runs, due)
    if advanced:
        connection.execute(_ADVANCE, advanced)
    return due


def due_fire_times(
    job: Row[Any], schedule: Schedule, now: datetime
) -> tuple[list[datetime], int, datetime | None]:
    """Return the fire times to write, how many earlier ones they stand for, and the next one."""
    first = job.next_run_time
    following = schedule.at_or_after(first + MOMENT)
    if following is None or following > now:  # by far the most frequent case
        return [first], 0, _with_jitter(following, schedule)
    if job.coalesce:
        last = schedule.last_at_or_before(now, since=first) or first
        following = schedule.at_or_after(max(last, now) + MOMENT)
        return [last], _count_between(schedule, first, last), _with_jitter(following, schedule)
    moments = [first]
    while following is not None and following <= now and len(moments) < FIRE_TIMES_A_TICK:
        moments.append(following)
        following = schedule.at_or_after(following + MOMENT)
    if following is not None and following > now:
        following = _with_jitter(following, schedule)
    return moments, 0, following


def _count_between(schedule: Schedule, first: datetime, last: datetime) -> int:
    """Count fire times from `first` until before `last`, as far as it is worth the time."""
    count, moment = 0, first
    while moment < last and count < FIRE_TIMES_A_TICK:
        count += 1
        following = schedule.at_or_after(moment + MOMENT)
        if following is None:
            break
        moment = following
    return count


def _with_jitter(moment: datetime | None, schedule: Schedule) -> datetime | None:
    if moment is None or not schedule.jitter:
        return moment
    return moment + timedelta(seconds=random.uniform(0, schedule.jitter))  # noqa: S311 -- no secret


def _active_counts(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for ids in batches(job_ids, ROWS_A_QUERY):
        counts |= dict(connection.execute(_ACTIVE_COUNTS, {"ids": ids}).all())
    return counts


def _claimed_run(
    job: Row[Any], moment: datetime, coalesced: int, now: datetime, active: int
) -> dict[str, Any]:
    state, reason = RunState.QUEUED, None
    if is_too_late(moment, now, job.misfire_grace_time):
        state, reason = RunState.MISSED, too_late(moment, now, job.misfire_grace_time)
    elif active >= job.max_instances:
        state, reason = RunState.SKIPPED, _too_many(job.max_instances)
    return {
        "job_id": job.id,
        "job_name": job.name,
        "task": job.task,
        "parameters": job.parameters,
        "scheduled_at": moment,
        "attempt": 1,
        "origin": Origin.SCHEDULE,
        "state": state,
        "reason": reason,
        "coalesced": coalesced,
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


@dataclass
class HandOver:
    """Runs that are marked running, by executor, and runs that waited too long."""

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    missed: list[tuple[str, datetime]] = field(default_factory=list)
    more: bool = False  # as many waited as there were slots, so there are probably more


def hand_over(
    connection: Connection, now: datetime, free: Mapping[str, int], identity: Identity
) -> HandOver:
    """Mark as many queued runs `running` as their executors have free slots."""
    result = HandOver()
    starting: list[int] = []
    missed: list[Row[Any]] = []
    for executor, slots in free.items():
        if slots <= 0:
            continue
        values = {"of_executor": executor, "slots": slots}
        waiting = connection.execute(_WAITING, values).all()
        result.more = result.more or len(waiting) == slots
        chosen = result.claims.setdefault(executor, [])
        for run in _within_max_instances(waiting):
            late = is_too_late(run.scheduled_at, now, run.misfire_grace_time)
            if late and run.origin is Origin.SCHEDULE:
                missed.append(run)
                continue
            starting.append(run.id)
            chosen.append(
                Claim(
                    task=run.task,
                    parameters=run.parameters,
                    identity=RunIdentity(
                        id=run.id,
                        job_id=run.job_id,
                        scheduled_at=run.scheduled_at,
                        attempt=run.attempt,
                    ),
                )
            )
    _start(connection, starting, now, identity)
    _miss(connection, missed, now)
    result.missed = [(run.job_id, run.scheduled_at) for run in missed]
    return result


def anything_queued(connection: Connection) -> bool:
    """Say whether a run waits for a slot, or for an instance of its job."""
    return connection.execute(_ANY_QUEUED).first() is not None


def _within_max_instances(waiting: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Drop the runs that would go beyond max_instances together with others of this batch."""
    taken: dict[str, int] = {}
    chosen = []
    for run in waiting:
        instances = taken.get(run.job_id, run.running)
        if instances < run.max_instances:
            taken[run.job_id] = instances + 1
            chosen.append(run)
    return chosen


def _start(
    connection: Connection, run_ids: Sequence[int], now: datetime, identity: Identity
) -> None:
    for ids in batches(run_ids, ROWS_A_QUERY):
        connection.execute(
            _START,
            {"ids": ids, "now": now, "on_host": identity.host, "in_process": identity.process},
        )


def _miss(connection: Connection, runs: Sequence[Row[Any]], now: datetime) -> None:
    for run in runs:
        reason = too_late(run.scheduled_at, now, run.misfire_grace_time)
        connection.execute(
            update(Run)
            .where(Run.id == run.id)
            .values(state=RunState.MISSED, reason=reason, finished_at=now)
        )
    count_finished(
        connection,
        [
            FinishedRun(run.id, run.job_id, RunState.MISSED, run.scheduled_at, now, None)
            for run in runs
        ],
    )


def interrupt_orphans(connection: Connection, now: datetime, identity: Identity) -> int:
    """End the runs that other processes left running: called by a process that begins to lead."""
    found = connection.execute(
        select(Run.id, Run.job_id, Run.scheduled_at, Run.started_at, Run.host).where(
            text(ACTIVE_RUN), Run.state == RunState.RUNNING, Run.process != identity.process
        )
    ).all()
    return interrupt(connection, found, now, "The process that ran it died or was stopped.")


def interrupt(connection: Connection, runs: Sequence[Row[Any]], now: datetime, reason: str) -> int:
    """Mark `runs` (rows with id, job_id, scheduled_at) as interrupted and count them."""
    for piece in batches(runs, ROWS_A_QUERY):
        connection.execute(
            update(Run)
            .where(Run.id.in_([run.id for run in piece]))
            .values(state=RunState.INTERRUPTED, reason=reason, finished_at=now)
        )
        count_finished(
            connection,
            [
                FinishedRun(
                    run.id, run.job_id, RunState.INTERRUPTED, run.scheduled_at, now, None, reason
                )
                for run in piece
            ],
        )
    return len(runs)


def mark_broken(connection: Connection, job_id: str, reason: str) -> None:
    """Keep a job that cannot be run, and say why; it fires no more until it is repaired."""
    connection.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(broken_reason=reason[:2000], version=Job.version + 1)
    )
