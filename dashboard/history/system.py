"""What the page System asks: the scheduler's past, the queue, the database."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from dashboard.storage.models import (
    QUEUED_RUN,
    READY_RUN,
    Process,
    Run,
    RunState,
    SchedulerLife,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.orm import Session

LIVES = 20
"""Schedulers of the past that are shown."""

LOOKED_AT = 10_000
"""Active runs that are counted, at most."""

QUEUED = 1000
"""Queued runs are looked at up to here."""

_QUEUE = (
    select(func.coalesce(Run.ready_at, Run.queued_at, type_=UtcDateTime()).label("ready_at"))
    .where(text(QUEUED_RUN))  # retries wait for their moment, not for a place
    .order_by(Run.id)
    .limit(QUEUED)
    .subquery()
)
_WAITING = select(func.count(), func.min(_QUEUE.c.ready_at)).select_from(_QUEUE)


@dataclass(frozen=True, slots=True)
class Life:
    """One stretch in which a process led, and how long nobody had led before it."""

    row: SchedulerLife
    down_before: float | None  # seconds; None for the first one known


@dataclass(frozen=True, slots=True)
class Load:
    """What one executor has to do."""

    running: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """One process that takes part, and how many runs it is executing."""

    row: Process
    running: int


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What kind of database this is."""

    kind: str
    version: str
    address: str  # without the password
    size: int | None  # bytes
    newest_run: int  # the number of the newest run


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """Everything the page System asks the database."""

    lives: list[Life]
    members: list[Member]
    loads: dict[str, Load]
    oldest_queued: datetime | None
    database: DatabaseFacts

    @property
    def counted_all(self) -> bool:
        """Whether the loads are exact; with very many active runs they are at least so much."""
        return sum(load.running + load.queued for load in self.loads.values()) < LOOKED_AT


def read_system(session: Session) -> SystemFacts:
    """Read the page System."""
    loads, oldest = read_loads(session)
    return SystemFacts(
        lives=_lives(session),
        members=read_members(session),
        loads=loads,
        oldest_queued=oldest,
        database=_database(session),
    )


def _lives(session: Session) -> list[Life]:
    """Return the latest schedulers, newest first, each with the gap before it."""
    found = session.scalars(
        select(SchedulerLife).order_by(SchedulerLife.id.desc()).limit(LIVES + 1)
    ).all()
    return [
        Life(life, None if before is None else (life.began_at - before.seen_at).total_seconds())
        for life, before in zip_longest(found[:LIVES], found[1:])
    ]


def read_loads(session: Session) -> tuple[dict[str, Load], datetime | None]:
    """Return what each executor has to do, and since when the oldest queued run waits."""
    active = select(Run.executor, Run.state).where(text(READY_RUN)).limit(LOOKED_AT).subquery()
    counted = session.execute(
        select(active.c.executor, active.c.state, func.count()).group_by(
            active.c.executor, active.c.state
        )
    ).all()
    numbers = {(executor, state): number for executor, state, number in counted}
    loads = {
        executor: Load(
            running=numbers.get((executor, RunState.RUNNING), 0),
            queued=numbers.get((executor, RunState.QUEUED), 0),
        )
        for executor, _ in numbers
    }
    return loads, queued_runs(session)[1]


def queued_runs(session: Session) -> tuple[int, datetime | None]:
    """Return how many runs wait for a free place, up to `QUEUED`, and since when."""
    number, oldest = session.connection().execute(_WAITING).one()
    return number, oldest


def read_members(session: Session) -> list[Member]:
    """Return the processes that take part, and how many runs each is executing."""
    mine = (
        select(func.count())
        .select_from(Run)
        .where(Run.state == RunState.RUNNING, Run.process == Process.process)
        .scalar_subquery()
    )
    order = Process.kind, Process.host, Process.pid
    return [Member(*row) for row in session.execute(select(Process, mine).order_by(*order))]


def places_of_workers(members: Iterable[Member]) -> dict[str, int]:
    """Return how many runs Celery's workers can execute at once, by executor."""
    places: dict[str, int] = {}
    for member in members:
        for executor in member.row.executors:
            places[executor] = places.get(executor, 0) + member.row.places
    return places


def _database(session: Session) -> DatabaseFacts:
    """Describe the database; its own functions tell version and size."""
    bind = session.get_bind()
    if bind.dialect.name == "postgresql":
        kind = "PostgreSQL"
        version = session.scalar(text("SHOW server_version"))
        size = session.scalar(text("SELECT pg_database_size(current_database())"))
    else:
        kind = "SQLite"
        version = session.scalar(text("SELECT sqlite_version()"))
        pages = session.scalar(text("PRAGMA page_count")) or 0
        size = pages * (session.scalar(text("PRAGMA page_size")) or 0)
    return DatabaseFacts(
        kind=kind,
        version=str(version),
        address=bind.engine.url.render_as_string(hide_password=True),
        size=size,
        newest_run=session.scalar(select(func.max(Run.id))) or 0,
    )
