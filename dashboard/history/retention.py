"""Forgetting old runs: by age, but never the newest runs of a job.

Age alone would erase the only run of a yearly job. Rows go in small batches, each a transaction
of its own, so that writers are never kept waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import CursorResult, Delete, Select, and_, delete, func, select

from dashboard.storage.models import ACTIVE, EVER, JobHealth, Run, RunLog, RunStats, RunStep
from dashboard.storage.models import Job as JobRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

BATCH = 500
"""Runs deleted in one transaction: a few milliseconds, their log lines included."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """How much was forgotten, or would be."""

    runs: int
    statistics: int
    jobs: int
    """Jobs looked at."""


def prune(
    database: Database,
    *,
    retention_days: float,
    keep_runs: int,
    dry_run: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> PruneReport:
    """Delete final runs older than `retention_days`, keeping the newest `keep_runs` of each job.

    Hourly statistics of the same age go too. `progress(jobs_done, job_id)` follows each job.
    """
    cutoff = datetime.now(UTC) - timedelta(days=retention_days)
    runs = jobs = 0
    for job_id in _job_ids(database):
        runs += _prune_job(database, job_id, cutoff, keep_runs, dry_run=dry_run)
        jobs += 1
        if progress is not None:
            progress(jobs, job_id)
    return PruneReport(runs, _prune_statistics(database, cutoff, dry_run=dry_run), jobs)


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
        with database.write() as session:
            deleted = _delete_runs(session, old.order_by(Run.id).limit(BATCH))
        total += deleted
        if deleted < BATCH:
            break
    _forget_removed_job(database, job_id)
    return total


def _delete_runs(session: Session, query: Select[int]) -> int:
    ids = session.scalars(query).all()
    for table, column in ((RunLog, RunLog.run_id), (RunStep, RunStep.run_id), (Run, Run.id)):
        session.execute(
            delete(table).where(column.in_(ids)).execution_options(synchronize_session=False)
        )
    return len(ids)


def _forget_removed_job(database: Database, job_id: str) -> None:
    """Drop the health of a job that is gone together with its last run."""
    with database.write(touch=False) as session:
        gone = (
            ~select(JobRow.id).where(JobRow.id == job_id).exists(),
            ~select(Run.id).where(Run.job_id == job_id).exists(),
        )
        session.execute(
            delete(JobHealth)
            .where(JobHealth.job_id == job_id, *gone)
            .execution_options(synchronize_session=False)
        )


def _prune_statistics(database: Database, cutoff: datetime, *, dry_run: bool) -> int:
    old = and_(RunStats.hour < cutoff, RunStats.hour > EVER)
    if dry_run:
        with database.read() as session:
            return session.scalar(select(func.count()).select_from(RunStats).where(old)) or 0
    with database.write(touch=False) as session:
        statement: Delete = delete(RunStats).where(old)
        result = session.execute(statement.execution_options(synchronize_session=False))
        return result.rowcount if isinstance(result, CursorResult) else 0
