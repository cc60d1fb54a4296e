"""Counting failed runs into the group of their error.

Called inside the transaction that writes the runs' final states, after the health of their jobs.
Decisions about a group end here too, so that no page has to look for what is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from dashboard.history.inserts import ROWS_A_QUERY, batches, insert_for
from dashboard.storage.models import ErrorGroup, ErrorHour, ErrorJob, ErrorMark, JobHealth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from dashboard.history.health import FinishedRun


@dataclass(frozen=True, slots=True)
class _Met:
    """An error that one batch of runs met, its runs in the order they ended."""

    fingerprint: str
    runs: list[FinishedRun]


def count_errors(connection: Connection, runs: Iterable[FinishedRun]) -> None:
    """Count runs that ended with an error, oldest first, into the groups of their errors."""
    by_error: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_error.setdefault(run.fingerprint or "", []).append(run)
    if not by_error:
        return
    # Always in this order, so that two processes never wait for each other's rows in a circle.
    met = [_Met(fingerprint, by_error[fingerprint]) for fingerprint in sorted(by_error)]
    new_jobs = _count_jobs(connection, met)
    _count_groups(connection, met, new_jobs)
    _count_hours(connection, met)
    for piece in batches(met, ROWS_A_QUERY):
        _end_marks(connection, piece)


def _count_jobs(connection: Connection, met: Sequence[_Met]) -> dict[str, int]:
    """Count by job, and return how many jobs are new to each error."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for error in met:
        for run in error.runs:
            row = rows.setdefault(
                (error.fingerprint, run.job_id),
                {"fingerprint": error.fingerprint, "job_id": run.job_id, "count": 0},
            )
            row["count"] += 1
            row |= {"last_seen_at": run.finished_at, "last_run_id": run.run_id}
    ordered = [rows[key] for key in sorted(rows)]
    new: dict[str, int] = {}
    statement = _first_meetings(connection.dialect.name)
    for piece in batches(ordered, ROWS_A_QUERY):
        for fingerprint in connection.scalars(statement, [row | {"count": 0} for row in piece]):
            new[fingerprint] = new.get(fingerprint, 0) + 1
    connection.execute(_job_upsert(connection.dialect.name), ordered)
    return new


def _count_groups(connection: Connection, met: Sequence[_Met], new_jobs: dict[str, int]) -> None:
    connection.execute(
        _group_upsert(connection.dialect.name),
        [
            {
                "fingerprint": error.fingerprint,
                "error": error.runs[-1].error or "",
                "first_seen_at": error.runs[0].finished_at,
                "last_seen_at": error.runs[-1].finished_at,
                "count": len(error.runs),
                "jobs": new_jobs.get(error.fingerprint, 0),
                "last_run_id": error.runs[-1].run_id,
                "last_job_id": error.runs[-1].job_id,
            }
            for error in met
        ],
    )


def _count_hours(connection: Connection, met: Sequence[_Met]) -> None:
    counts: dict[tuple[str, datetime], int] = {}
    for error in met:
        for run in error.runs:
            key = error.fingerprint, hour_of(run.finished_at)
            counts[key] = counts.get(key, 0) + 1
    connection.execute(
        _hour_upsert(connection.dialect.name),
        [
            {"fingerprint": fingerprint, "hour": hour, "count": counts[fingerprint, hour]}
            for fingerprint, hour in sorted(counts)
        ],
    )


def hour_of(moment: datetime) -> datetime:
    """Return the full hour in which a moment lies."""
    return moment.replace(minute=0, second=0, microsecond=0)


def _end_marks(connection: Connection, met: Sequence[_Met]) -> None:
    """Let what somebody decided about these errors end, where they are back."""
    by_error = {error.fingerprint: error.runs for error in met}
    marked = connection.execute(_MARKED, {"fingerprints": list(by_error)}).all()
    over = []
    for group in marked:
        runs = by_error[group.fingerprint]
        back = _is_over(group, runs[-1].finished_at) or _exceeds_rate(connection, group, runs)
        if group.mark is ErrorMark.ACKNOWLEDGED:
            back = back or _recovered_between(connection, group, runs)
        if back:
            over.append({"of_error": group.fingerprint, "at": runs[-1].finished_at})
    if over:
        connection.execute(_REGRESS, over)


def _is_over(group: Any, now: datetime) -> bool:
    return bool(
        (group.until_at is not None and now >= group.until_at)
        or (group.until_count is not None and group.seen >= group.until_count)
    )


def _exceeds_rate(connection: Connection, group: Any, runs: Sequence[FinishedRun]) -> bool:
    if group.until_rate is None:
        return False
    wanted = {"fingerprint": group.fingerprint, "hour": hour_of(runs[-1].finished_at)}
    return bool((connection.scalar(_OF_HOUR, wanted) or 0) >= group.until_rate)


def _recovered_between(connection: Connection, group: Any, runs: Sequence[FinishedRun]) -> bool:
    """Say whether a job that meets the error again had succeeded since it was acknowledged."""
    for ids in batches(sorted({run.job_id for run in runs}), ROWS_A_QUERY):
        values = {"ids": ids, "after": group.marked_at, "before": runs[-1].finished_at}
        if connection.execute(_SUCCEEDED, values).first() is not None:
            return True
    return False


# Statements are built once a dialect: building one costs five times its execution.


@cache
def _first_meetings(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, ErrorJob).on_conflict_do_nothing()
    return statement.returning(ErrorJob.fingerprint)


@cache
def _job_upsert(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, ErrorJob)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["fingerprint", "job_id"],
        set_={
            "count": ErrorJob.count + new["count"],
            "last_seen_at": new.last_seen_at,
            "last_run_id": new.last_run_id,
        },
    )


@cache
def _group_upsert(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, ErrorGroup)
    new = statement.excluded
    latest = ("error", "last_seen_at", "last_run_id", "last_job_id")
    return statement.on_conflict_do_update(
        index_elements=["fingerprint"],
        set_={name: new[name] for name in latest}
        | {"count": ErrorGroup.count + new["count"], "jobs": ErrorGroup.jobs + new.jobs},
    )


@cache
def _hour_upsert(dialect_name: str) -> Any:
    statement = insert_for(dialect_name, ErrorHour)
    return statement.on_conflict_do_update(
        index_elements=["fingerprint", "hour"],
        set_={"count": ErrorHour.count + statement.excluded["count"]},
    )


_MARKED = select(
    ErrorGroup.fingerprint,
    ErrorGroup.mark,
    ErrorGroup.marked_at,
    ErrorGroup.until_at,
    ErrorGroup.until_count,
    ErrorGroup.until_rate,
    ErrorGroup.count.label("seen"),
).where(
    ErrorGroup.fingerprint.in_(bindparam("fingerprints", expanding=True)),
    ErrorGroup.mark.is_not(None),
)
_OF_HOUR = select(ErrorHour.count).where(
    ErrorHour.fingerprint == bindparam("fingerprint"), ErrorHour.hour == bindparam("hour")
)
_SUCCEEDED = (
    select(JobHealth.job_id)
    .where(
        JobHealth.job_id.in_(bindparam("ids", expanding=True)),
        JobHealth.last_success_at > bindparam("after"),
        JobHealth.last_success_at <= bindparam("before"),
    )
    .limit(1)
)
_REGRESS = (
    update(ErrorGroup)
    .where(ErrorGroup.fingerprint == bindparam("of_error"))
    .values(mark=None, regressed_at=bindparam("at"))
)
