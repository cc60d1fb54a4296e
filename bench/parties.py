"""The two that are compared: the dashboard's scheduler, and APScheduler bare."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine, event, insert

from dashboard.runtime import make_runtime
from dashboard.scheduling import triggers
from dashboard.settings import load_settings
from dashboard.storage.models import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine, Insert
    from sqlalchemy.orm import Session

    from dashboard.runtime import Runtime

THREADS = 20
ROWS = 1000


@contextmanager
def dashboard(folder: Path, *, database: str = "") -> Iterator[Runtime]:
    """Make a dashboard's runtime with its data in `folder`; it is stopped and closed at the end."""
    settings = load_settings(
        data=folder, database=database, threads=THREADS, tasks=("bench.workload",)
    )
    runtime = make_runtime(settings)
    try:
        yield runtime
    finally:
        runtime.stop(grace=5)
        runtime.database.close()


@contextmanager
def bare(engine: Engine | None = None) -> Iterator[BackgroundScheduler]:
    """Make a plain APScheduler on the tables of `engine`, or in memory; shut down at the end."""
    store = MemoryJobStore() if engine is None else SQLAlchemyJobStore(engine=engine)
    pool = ThreadPoolExecutor(THREADS)
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, executors={"default": pool}, timezone=UTC
    )
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


def plain_engine(url: str) -> Engine:
    """Make an engine for a bare job store; on SQLite with the pragmas that the dashboard sets."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def job_row(number: int, **values: Any) -> dict[str, Any]:
    """Return the row of one job; `trigger` and `next_run_time` at least are the caller's."""
    now = datetime.now(UTC)
    trigger = triggers.load(values.pop("trigger"))
    row = {
        "id": f"job-{number}",
        "name": f"Job {number}",
        "parameters": {},
        "trigger": trigger.data,
        "timezone": trigger.timezone,
        "executor": "threads",
        "coalesce": True,
        "max_instances": 1,
        "misfire_grace_time": None,
        "tags": [],
        "notes": "",
        "created_at": now,
        "created_by": "bench",
        "updated_at": now,
        "updated_by": "bench",
        "version": 1,
    }
    return row | values


def add_jobs(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Write job rows past the services, which check and audit each."""
    in_pieces(session, insert(Job), rows)


def in_pieces(session: Session, statement: Insert, rows: Iterable[dict[str, Any]]) -> None:
    """Execute `statement` for all rows without ever holding all of them."""
    rest = iter(rows)
    while piece := list(islice(rest, ROWS)):
        session.execute(statement, piece)
