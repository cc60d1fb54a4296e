"""How large the tables are, and what the next pruning may delete, without counting anything.

What counting would tell exactly is estimated: by the numbers of rows, which a database gives out in
order, or by what PostgreSQL has noted about its tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, func, literal_column, select, table, text

from dashboard.storage.models import AlertDelivery, Audit, Job, Run, RunLog, RunStats

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from dashboard.storage.models import Base

PRUNING = "dashboard.prune"
"""The task that prunes."""

TABLES: dict[str, type[Base]] = {
    "Runs": Run,
    "Log lines": RunLog,
    "Hourly statistics": RunStats,
    "Alerts sent": AlertDelivery,
    "Audit log": Audit,
}


@dataclass(frozen=True, slots=True)
class TableSize:
    """About how large one table is."""

    name: str
    rows: int | None  # None: the database has not looked yet
    size: int | None  # bytes, indexes included; None where only the whole is known


@dataclass(frozen=True, slots=True)
class Pruning:
    """What the next pruning may delete, and when it is."""

    before: datetime
    oldest: datetime | None  # when the oldest run that is kept was queued
    runs: int  # at most so many runs are old enough
    job: Job | None  # the job that prunes and comes next


def table_sizes(session: Session) -> list[TableSize]:
    """Return about how large the tables are that grow."""
    if session.get_bind().dialect.name == "postgresql":
        found = {row.relname: row for row in session.execute(_POSTGRESQL)}
        rows = {name: found[model.__tablename__] for name, model in TABLES.items()}
        return [
            TableSize(name, None if row.rows < 0 else int(row.rows), row.size)
            for name, row in rows.items()
        ]
    return [
        TableSize(name, session.scalar(_span(model.__tablename__)), None)
        for name, model in TABLES.items()
    ]


def next_pruning(session: Session, now: datetime, *, retention_days: float) -> Pruning:
    """Tell what the next pruning may delete; the newest runs of each job stay in any case."""
    before = now - timedelta(days=retention_days)
    first, last = session.execute(select(*_ENDS)).one()
    job = session.scalar(
        select(Job)
        .where(Job.task == PRUNING, Job.next_run_time.is_not(None))
        .order_by(Job.next_run_time)
        .limit(1)
    )
    if first is None:
        return Pruning(before, None, 0, job)
    oldest = session.scalar(select(Run.queued_at).where(Run.id == first))
    return Pruning(before, oldest, _older(session, first, last, before), job)


def _older(session: Session, first: int, last: int, before: datetime) -> int:
    """Return about how many runs were queued earlier: they are numbered in that order."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        queued_at = session.connection().scalar(_QUEUED_FROM, {"number": middle})
        if queued_at is not None and queued_at < before:
            low = middle + 1
        else:
            high = middle
    return low - first


def _span(name: str) -> Select[int]:
    """Ask SQLite for the first and the last number of a table's rows, each by one look-up."""
    number = literal_column("rowid", type_=Integer)
    ends = [select(end(number)).select_from(table(name)).scalar_subquery() for end in _EXTREMES]
    return select(func.coalesce(ends[1] - ends[0] + 1, 0))


_EXTREMES = (func.min, func.max)
_ENDS = [select(end(Run.id)).scalar_subquery() for end in _EXTREMES]
_QUEUED_FROM = select(Run.queued_at).where(Run.id >= bindparam("number")).order_by(Run.id).limit(1)
_POSTGRESQL = text(
    "SELECT relname, reltuples AS rows, pg_total_relation_size(oid) AS size FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
)
