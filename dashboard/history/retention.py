"""Forgetting old runs: by age, but never the newest runs of a job.

Age alone would erase the only run of a yearly job. Rows go in small batches, each a transaction
of its own, so that writers are never kept waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, and_, delete, func, select, tuple_

from dashboard.storage.models import (
    ACTIVE,
    ANSWER_KEPT,
    EVER,
    AlertDelivery,
    AlertProblem,
    Audit,
    ErrorGroup,
    ErrorHour,
    ErrorJob,
    JobHealth,
    KeptAnswer,
    Run,
    RunLog,
    RunStats,
    RunStep,
)
from dashboard.storage.models import Job as JobRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Delete
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from dashboard.storage.db import Database
    from dashboard.storage.models import Base

BATCH = 500
"""Runs, or rows of statistics, deleted in one transaction: a few milliseconds."""

LINES = 5_000
"""Log lines deleted in one transaction; a single run may have twice as many."""

HOURS_OF_ERRORS = timedelta(days=8)
"""The page Errors looks back a week."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """How much was forgotten, or would be."""

    runs: int
    statistics: int
    jobs: int
    """Jobs looked at."""
    alerts: int = 0
    """Messages sent or given up."""
    audit: int = 0
    """Entries of the audit log."""


def prune(
    database: Database,
    *,
    retention_days: float,
    keep_runs: int,
    audit_days: float | None = None,
    dry_run: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> PruneReport:
    """Delete final runs older than `retention_days`, keeping the newest `keep_runs` of each job.

    Hourly statistics and alerts of the same age go too, and errors of whose runs none is left. The
    audit log loses what is older than `audit_days`, if any are given.
    `progress(jobs_done, job_id)` follows each job.
    """
    cutoff = datetime.now(UTC) - timedelta(days=retention_days)
    runs = jobs = 0
    for job_id in _job_ids(database):
        runs += _prune_job(database, job_id, cutoff, keep_runs, dry_run=dry_run)
        jobs += 1
        if progress is not None:
            progress(jobs, job_id)
    old_hours = and_(RunStats.hour < cutoff, RunStats.hour > EVER)
    hours = (RunStats.job_id, RunStats.hour)
    _delete(database, AlertProblem, (AlertProblem.id,), AlertProblem.closed_at < cutoff, dry_run)
    _prune_errors(database, cutoff, dry_run=dry_run)
    answered = (KeptAnswer.token_id, KeptAnswer.key)
    lapsed = KeptAnswer.at < datetime.now(UTC) - ANSWER_KEPT
    _delete(database, KeptAnswer, answered, lapsed, dry_run)
    return PruneReport(
        runs,
        statistics=_delete(database, RunStats, hours, old_hours, dry_run),
        jobs=jobs,
        alerts=_delete(
            database, AlertDelivery, (AlertDelivery.id,), AlertDelivery.ended_at < cutoff, dry_run
        ),
        audit=_prune_audit(database, audit_days, dry_run=dry_run),
    )


def _prune_audit(database: Database, days: float | None, *, dry_run: bool) -> int:
    if days is None:
        return 0
    old = Audit.at < datetime.now(UTC) - timedelta(days=days)
    return _delete(database, Audit, (Audit.id,), old, dry_run)


def _job_ids(database: Database) -> Iterator[str]:
    """Walk the ids that have runs, one index look-up each: a DISTINCT would read every run."""
    last: str | None = None
    while True:
        query = select(func.min(Run.job_id))
        if last is not None:
            query = query.where(Run.job_id > last)
        with database.read() as session:
            last = session.scalar(query)
        if last is None:
            return
        yield last


def _prune_job(
    database: Database, job_id: str, cutoff: datetime, keep_runs: int, *, dry_run: bool
) -> int:
    with database.read() as session:
        newest = select(Run.id).where(Run.job_id == job_id).order_by(Run.id.desc())
        edge = session.scalar(newest.offset(keep_runs).limit(1))
        if edge is None:
            return 0
        old = select(Run.id).where(
            Run.job_id == job_id,
            Run.id <= edge,
            Run.queued_at < cutoff,
            Run.state.not_in(ACTIVE),
        )
        if dry_run:
            return session.scalar(select(func.count()).select_from(old.subquery())) or 0
    total = 0
    while True:
        with database.read() as session:
            ids = session.scalars(old.order_by(Run.id).limit(BATCH)).all()
        _delete_runs(database, ids)
        total += len(ids)
        if len(ids) < BATCH:
            break
    _forget_removed_job(database, job_id)
    return total


def _delete_runs(database: Database, ids: Sequence[int]) -> None:
    """Delete runs, their lines first and not too many at once."""
    lines = select(RunLog.run_id, RunLog.seq).where(RunLog.run_id.in_(ids)).limit(LINES)
    some_lines = delete(RunLog).where(tuple_(RunLog.run_id, RunLog.seq).in_(lines))
    while ids:
        with database.write() as session:
            if _execute(session, some_lines) < LINES:
                _execute(session, delete(RunStep).where(RunStep.run_id.in_(ids)))
                _execute(session, delete(Run).where(Run.id.in_(ids)))
                return


def _forget_removed_job(database: Database, job_id: str) -> None:
    """Drop the health of a job that is gone together with its last run."""
    with database.write(touch=False) as session:
        gone = (
            ~select(JobRow.id).where(JobRow.id == job_id).exists(),
            ~select(Run.id).where(Run.job_id == job_id).exists(),
        )
        _execute(session, delete(JobHealth).where(JobHealth.job_id == job_id, *gone))


def _delete(
    database: Database,
    table: type[Base],
    key: Sequence[InstrumentedAttribute[Any]],
    old: ColumnElement[bool],
    dry_run: bool,  # noqa: FBT001 -- it is passed on
) -> int:
    """Delete the rows of `table` that are `old`, or only count them."""
    if dry_run:
        with database.read() as session:
            return session.scalar(select(func.count()).select_from(table).where(old)) or 0
    some = delete(table).where(tuple_(*key).in_(select(*key).where(old).limit(BATCH)))
    total, deleted = 0, BATCH
    while deleted == BATCH:
        with database.write(touch=False) as session:
            deleted = _execute(session, some)
        total += deleted
    return total


def _execute(session: Session, statement: Delete) -> int:
    """Delete and return how many rows that were."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    return result.rowcount if isinstance(result, CursorResult) else 0


def _prune_errors(database: Database, cutoff: datetime, *, dry_run: bool) -> None:
    """Forget errors of whose runs none is left, and hourly counts that no page shows any more."""
    last_run = select(Run.id).where(Run.fingerprint == ErrorGroup.fingerprint)
    gone = and_(ErrorGroup.last_seen_at < cutoff, ~last_run.exists())
    group = select(ErrorGroup.fingerprint).where(ErrorGroup.fingerprint == ErrorJob.fingerprint)
    past = ErrorHour.hour < datetime.now(UTC) - HOURS_OF_ERRORS
    _delete(database, ErrorHour, (ErrorHour.fingerprint, ErrorHour.hour), past, dry_run)
    _delete(database, ErrorGroup, (ErrorGroup.fingerprint,), gone, dry_run)
    _delete(database, ErrorJob, (ErrorJob.fingerprint, ErrorJob.job_id), ~group.exists(), dry_run)
