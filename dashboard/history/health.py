"""Counting finished runs into each job's health and the hourly statistics.

Called inside the transaction that writes the runs' final states, so the numbers on the pages and
the rows behind them cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from dashboard.history.errorgroups import count_errors
from dashboard.history.inserts import ROWS_A_QUERY, batches, insert_for
from dashboard.storage.models import (
    ALL_JOBS,
    DURATION_BOUNDS,
    DURATION_COLUMNS,
    EVER,
    PROBLEMS,
    Job,
    JobHealth,
    Run,
    RunState,
    RunStats,
    Silence,
)
from dashboard.storage.rows import values_from_json

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

RECENT_RUNS = 30
"""Runs kept in a job's strip, and the runs that tell its usual duration."""

COUNTED = (
    RunState.SUCCEEDED,
    RunState.FAILED,
    RunState.MISSED,
    RunState.SKIPPED,
    RunState.INTERRUPTED,
    RunState.CANCELLED,
)

_NOTHING: dict[str, float] = {
    **dict.fromkeys((state.value for state in COUNTED), 0),
    **dict.fromkeys(("started", *DURATION_COLUMNS), 0),
    **dict.fromkeys(("seconds", "delay"), 0.0),
}
"""The statistics of an hour in which nothing has happened yet."""
SILENCE_COLUMNS = (
    "silence",
    "silenced_at",
    "silenced_by",
    "silenced_until",
    "silence_reason",
    "silenced_failure",
)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What health and statistics need to know of one run that ended."""

    run_id: int
    job_id: str
    state: RunState
    scheduled_at: datetime
    finished_at: datetime
    duration: float | None  # seconds
    error: str | None = None  # one line
    delay: float | None = None  # seconds between its fire time and its start
    fingerprint: str | None = None  # of that error
    retried: bool = False  # another attempt follows, so it says nothing about the job yet
    gave_up: bool = False  # the attempt that was to make up for a failure never began


def error_line(kind: str | None, message: str | None) -> str | None:
    """Write an error in one line: the class by its own name, for the message says more."""
    if kind is None:
        return message
    name = kind.rpartition(".")[2]
    first = (message or "").strip().partition("\n")[0]
    return f"{name}: {first}"[:500] if first else name


def count_finished(
    connection: Connection, runs: Sequence[FinishedRun], known: Container[str] | None = None
) -> None:
    """Add `runs`, oldest first, to the health of their jobs and to the hourly statistics.

    A job that was removed has no health any more. `known` are the ids of those that were not, and
    cannot be before this transaction ends; they are looked up when it is not given.
    """
    if not runs:
        return
    if known is None:
        known = _lock_jobs(connection, {run.job_id for run in runs})
    by_job: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.job_id not in known:
            continue
        by_job.setdefault(run.job_id, []).append(run)
    # Always in this order, so that two processes never wait for each other's rows in a circle.
    for job_ids in batches(sorted(by_job), ROWS_A_QUERY):
        _update_health(connection, {job_id: by_job[job_id] for job_id in job_ids})
    _add_stats(connection, runs)
    count_errors(connection, [run for run in runs if run.fingerprint is not None])


def _lock_jobs(connection: Connection, job_ids: Iterable[str]) -> set[str]:
    """Return the jobs that exist, and keep them from being removed until the transaction ends."""
    found: set[str] = set()
    for ids in batches(sorted(job_ids), ROWS_A_QUERY):
        found |= set(connection.scalars(_JOBS, {"ids": ids}))
    return found


# Statements are built once a dialect: building one costs five times its execution.


@cache
def _health_upsert(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, JobHealth)
    names = [column.name for column in JobHealth.__table__.columns if column.name != "job_id"]
    return statement.on_conflict_do_update(
        index_elements=["job_id"], set_={name: statement.excluded[name] for name in names}
    )


@cache
def _stats_upsert(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, RunStats)
    columns = RunStats.__table__.columns
    return statement.on_conflict_do_update(
        index_elements=["job_id", "hour"],
        set_={name: columns[name] + statement.excluded[name] for name in _NOTHING},
    )


_JOBS = (
    select(Job.id)
    .where(Job.id.in_(bindparam("ids", expanding=True)))
    .order_by(Job.id)
    .with_for_update(read=True, key_share=True)
)
_HEALTH = (
    select(*JobHealth.__table__.columns)
    .where(JobHealth.job_id.in_(bindparam("ids", expanding=True)))
    .order_by(JobHealth.job_id)
    .with_for_update()
)


def _update_health(connection: Connection, by_job: dict[str, list[FinishedRun]]) -> None:
    rows = _locked_health(connection, list(by_job))
    for job_id, runs in by_job.items():
        row = rows[job_id]
        recent = list(row["recent"])
        for run in runs:
            _add_run(row, run)
            recent.append(_strip_entry(run))
        row["recent"] = recent[-RECENT_RUNS:]
        row["usual_duration"], row["long_duration"] = usual_durations(row["recent"])
    connection.execute(_health_upsert(connection.dialect.name), [rows[job_id] for job_id in by_job])


def _strip_entry(run: FinishedRun) -> list[Any]:
    """Return what `job_health.recent` keeps of a run."""
    return [
        run.run_id,
        run.state.value,
        None if run.duration is None else round(run.duration, 6),
        run.scheduled_at.isoformat(timespec="seconds"),
    ]


def _locked_health(connection: Connection, job_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Read the health of jobs, which nobody else can count into before this transaction ends.

    Rows that do not exist yet cannot be locked: where there may be several writers they are made
    first. SQLite has one writer anyway.
    """
    rows = _read_health(connection, job_ids)
    missing = {job_id: _unknown_health(job_id) for job_id in job_ids if job_id not in rows}
    if missing and connection.dialect.name != "sqlite":
        made = insert_for(connection.dialect.name, JobHealth).on_conflict_do_nothing()
        connection.execute(made, list(missing.values()))
        return rows | _read_health(connection, list(missing))
    return rows | missing


def _read_health(connection: Connection, job_ids: list[str]) -> dict[str, dict[str, Any]]:
    found = connection.execute(_HEALTH, {"ids": job_ids})
    return {row["job_id"]: dict(row) for row in found.mappings()}


def _unknown_health(job_id: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(JobHealth.__table__.columns.keys())
    return row | {"job_id": job_id, "consecutive_failures": 0, "recent": []}


def _add_run(row: dict[str, Any], run: FinishedRun) -> None:
    """Let one run change a job's health.

    Missed, skipped and cancelled runs say nothing about whether the task works: they show in the
    strip, but neither begin nor end a failure. A failed attempt that is tried again does not yet
    make the job a failing one; if the next attempt never begins, it does after all.
    """
    row["last_run_id"] = run.run_id
    row["last_state"] = run.state
    row["last_finished_at"] = run.finished_at
    if run.state is RunState.SUCCEEDED:
        row["last_success_at"] = run.finished_at
        row["failing_since"] = None
        row["consecutive_failures"] = 0
        _end_silence(row, run.finished_at)
        return
    if run.state in PROBLEMS:
        row["last_error"] = run.error
        row["failure_run_id"] = run.run_id
        row["failure_state"] = run.state
        row["failure_kind"] = run.fingerprint or run.state.value
    if (run.state in PROBLEMS and not run.retried) or run.gave_up:
        row["consecutive_failures"] += 1
        row["failing_since"] = row["failing_since"] or run.finished_at


def _end_silence(row: dict[str, Any], recovered_at: datetime) -> None:
    """Let a recovery end what somebody said about the trouble before; a snooze keeps its time."""
    until = row["silenced_until"]
    if row["silence"] is Silence.SNOOZED and until is not None and until > recovered_at:
        return
    row.update(dict.fromkeys(SILENCE_COLUMNS))


def bring_back_health(
    connection: Connection, job_id: str, kept: Mapping[str, Any], *, since: datetime
) -> None:
    """Write the health of a job that is brought back: as it was `kept`, and what ended `since`."""
    runs = _newest_finished(connection, job_id)
    if not runs and not kept:
        return
    row = _unknown_health(job_id) | values_from_json(JobHealth, kept)
    for run in runs:
        if run.finished_at > since:
            _add_run(row, run)
    row["recent"] = [_strip_entry(run) for run in runs]
    row["usual_duration"], row["long_duration"] = usual_durations(row["recent"])
    connection.execute(_health_upsert(connection.dialect.name), [row])


def _newest_finished(connection: Connection, job_id: str) -> list[FinishedRun]:
    """Return the runs of a job's strip, oldest first."""
    newest = (
        select(Run.__table__)
        .where(Run.job_id == job_id, Run.state.in_(COUNTED))
        .order_by(Run.id.desc())
        .limit(RECENT_RUNS)
    )
    return [
        FinishedRun(
            run.id,
            job_id,
            run.state,
            run.scheduled_at,
            run.finished_at,
            run.duration,
            error_line(run.error_type, run.error_message),
        )
        for run in reversed(connection.execute(newest).all())
    ]


def usual_durations(recent: Iterable[Sequence[Any]]) -> tuple[float | None, float | None]:
    """Return median and 95th percentile in seconds of the successes among `recent`."""
    seconds = sorted(
        entry[2]
        for entry in recent
        if entry[1] == RunState.SUCCEEDED.value and entry[2] is not None
    )
    if not seconds:
        return None, None
    last = len(seconds) - 1
    return seconds[last // 2], seconds[round(last * 0.95)]


def _add_stats(connection: Connection, runs: Sequence[FinishedRun]) -> None:
    rows: dict[tuple[str, datetime], dict[str, Any]] = {}
    for run in runs:
        hour = run.finished_at.replace(minute=0, second=0, microsecond=0)
        for key in ((run.job_id, hour), (ALL_JOBS, hour), (ALL_JOBS, EVER)):
            row = rows.get(key)
            if row is None:
                row = rows[key] = {"job_id": key[0], "hour": key[1], **_NOTHING}
            _add_to_stats(row, run)
    connection.execute(_stats_upsert(connection.dialect.name), [rows[key] for key in sorted(rows)])


def _add_to_stats(row: dict[str, Any], run: FinishedRun) -> None:
    row[run.state.value] += 1
    if run.duration is not None:
        row["seconds"] += run.duration
        row[DURATION_COLUMNS[bisect_left(DURATION_BOUNDS, run.duration)]] += 1
    if run.delay is not None:
        row["started"] += 1
        row["delay"] += run.delay
