"""A whole core for tests: real database, recorder and scheduler, ticking by hand or by itself."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import delete, select, text, update

from dashboard import tasks
from dashboard.runtime import Runtime, make_runtime, open_database
from dashboard.services import audit, jobs
from dashboard.settings import load_settings
from dashboard.storage.db import Database, read_revision
from dashboard.storage.models import (
    ACTIVE,
    Base,
    Job,
    JobHealth,
    Lease,
    Revision,
    Role,
    Run,
    RunLog,
    RunState,
    RunStats,
    RunStep,
)
from dashboard.vault import Vault
from tests.rows import make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dashboard.settings import Settings

T = TypeVar("T")

ADMIN = audit.Actor("ann", Role.ADMIN, "192.0.2.7")
OPERATOR = audit.Actor("otto", Role.OPERATOR, "192.0.2.8")
VIEWER = audit.Actor("vera", Role.VIEWER, "192.0.2.9")

VAULT = Vault(lambda: "k" * 64)

SECOND = timedelta(seconds=1)
HOURLY = {"type": "interval", "hours": 1}


PATIENCE = 60.0
"""Seconds that anything may take on a machine that is busy with other things."""


def wait_until(predicate: Callable[[], T]) -> T:
    """Return what `predicate` returns once that is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = predicate()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"still {found!r} after {PATIENCE:g} s", pytrace=True)
        time.sleep(0.005)


@dataclass
class Core:
    """A runtime of one test. Its scheduler's thread runs only after `start()`."""

    runtime: Runtime

    @property
    def database(self) -> Database:
        return self.runtime.database

    @property
    def settings(self) -> Settings:
        return self.runtime.settings

    def start(self) -> None:
        """Let the scheduler's own thread tick."""
        self.runtime.start()

    def start_by_hand(self) -> None:
        """Start everything but the ticking; `tick()` does that."""
        self.runtime.recorder.start()
        self.runtime.scheduler.start(paused=True)
        self.runtime.scheduler.wakeup()

    def tick(self) -> None:
        """Tick until there is nothing more to do at once."""
        while self.runtime.scheduler._tick():
            pass

    def add(self, task: str, *, trigger: dict[str, Any] | None = None, **data: Any) -> str:
        """Add a job, hourly unless told otherwise, and return its id."""
        data = {"task": task, "trigger": trigger or HOURLY} | data
        with audit.transaction(self.database) as session:
            job = jobs.create_job(session, data, actor=ADMIN, settings=self.settings)
        self.runtime.scheduler.wakeup()
        return job.id

    def change(self, job_id: str, **values: Any) -> None:
        """Change a job's row behind everybody's back."""
        with self.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(**values))

    def make_due(self, job_id: str, ago: float = 0) -> datetime:
        """Make a job due since `ago` seconds and return that moment."""
        moment = datetime.now(UTC) - timedelta(seconds=ago)
        self.change(job_id, next_run_time=moment)
        return moment

    def run_now(self, job_id: str, **parameters: Any) -> int:
        """Ask for a run and return its id."""
        with audit.transaction(self.database) as session:
            run = jobs.run_now(
                session,
                job_id,
                parameters=parameters or None,
                actor=ADMIN,
                vault=self.settings.vault,
            )
        self.runtime.scheduler.wakeup()
        return run.id

    def settle(self) -> None:
        """Wait until nothing is queued or running any more and all of it is written."""
        wait_until(lambda: not self.runs(state=ACTIVE))
        assert self.runtime.recorder.flush()

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def run(self, run_id: int) -> Run:
        with self.database.read() as session:
            return session.get_one(Run, run_id)

    def runs(
        self, job_id: str | None = None, *, state: RunState | tuple[RunState, ...] = ()
    ) -> list[Run]:
        """List runs, oldest first."""
        states = (state,) if isinstance(state, RunState) else state
        query = select(Run).order_by(Run.id)
        if job_id is not None:
            query = query.where(Run.job_id == job_id)
        if states:
            query = query.where(Run.state.in_(states))
        with self.database.read() as session:
            return list(session.scalars(query))

    def states(self, job_id: str | None = None) -> list[str]:
        return [run.state.value for run in self.runs(job_id)]

    def health(self, job_id: str) -> JobHealth | None:
        with self.database.read() as session:
            return session.get(JobHealth, job_id)

    def log(self, run_id: int) -> list[str]:
        query = select(RunLog.text).where(RunLog.run_id == run_id).order_by(RunLog.seq)
        with self.database.read() as session:
            return list(session.scalars(query))

    def steps(self, run_id: int) -> list[RunStep]:
        query = select(RunStep).where(RunStep.run_id == run_id).order_by(RunStep.index)
        with self.database.read() as session:
            return list(session.scalars(query))

    def revision(self) -> int:
        with self.database.read() as session:
            return read_revision(session)


@contextmanager
def open_core(**options: Any) -> Iterator[Core]:
    """Make a core with these settings and take it down whatever happens."""
    core = Core(make_runtime(load_settings(**options)))
    try:
        yield core
    finally:
        core.runtime.stop(grace=0)
        core.runtime.database.close()


def psycopg_url(url: str) -> str:
    """Name the driver, as settings do."""
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """A core on SQLite whose ticks are made by hand."""
    with open_core(data=tmp_path / "data", threads=4, processes=1) as core:
        core.start_by_hand()
        yield core


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Core]:
    """A core on SQLite that runs by itself."""
    with open_core(data=tmp_path / "data", threads=4, processes=1) as core:
        core.start()
        yield core


@pytest.fixture(params=["sqlite", "postgresql"])
def any_core(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Core]:
    """The same as `core`, on each kind of database."""
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgresql_url")
    with open_core(data=tmp_path / "data", database=database, threads=4) as core:
        core.start_by_hand()
        yield core


_COUNT_ANEW = {
    "sqlite": "DELETE FROM sqlite_sequence",
    "postgresql": "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence",
}


@pytest.fixture(scope="session")
def _kept_databases() -> Iterator[dict[str, Database]]:
    """One migrated database of each kind: making one a test takes longer than most tests."""
    kept: dict[str, Database] = {}
    yield kept
    for database in kept.values():
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest,
    _kept_databases: dict[str, Database],
    tmp_path_factory: pytest.TempPathFactory,
) -> Database:
    """A migrated, empty database of each kind, and nothing that runs beside it."""
    kind = request.param
    if kind not in _kept_databases:
        url = None
        if kind == "postgresql":
            url = f"{request.getfixturevalue('postgresql_server')}/postgres"
        data = tmp_path_factory.mktemp("kept")
        _kept_databases[kind] = open_database(load_settings(data=data, database=url))
    database = _kept_databases[kind]
    empty(database)
    return database


def empty(database: Database) -> None:
    """Bring a database back to how it is after its migration, the numbers it gives included.

    Otherwise the ids in a test would depend on those that tests before it have used.
    """
    epoch = datetime.fromtimestamp(0, UTC)
    with database.write(touch=False) as session:
        for table in Base.metadata.tables.values():
            session.execute(delete(table))
        session.execute(text(_COUNT_ANEW[session.get_bind().dialect.name]))
        session.add(Revision(id=1, number=0))
        session.add(
            Lease(
                name="scheduler",
                holder="",
                machine="",
                pid=0,
                pid_started=0,
                renewed_at=epoch,
                until=epoch,
            )
        )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data=tmp_path / "data")


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """Register functions as tasks for one test only: `register(function, "name", retries=1)`."""
    before = dict(tasks._registry)

    def register(function: Callable[..., Any], name: str = "test.task", **options: Any) -> None:
        tasks.task(name=name, **options)(function)

    yield register
    tasks._registry.clear()
    tasks._registry.update(before)


@pytest.fixture
def no_tasks() -> Iterator[None]:
    """Let no task be registered: others may have registered the samples, for good."""
    before = dict(tasks._registry)
    tasks._registry.clear()
    yield
    tasks._registry.update(before)


def new_run(job_id: str = "nightly", second: int = 0, **values: Any) -> Run:
    """Return a run of that second after `EPOCH` that the database will number."""
    run = make_run(second, job_id, **values)
    del run.id
    return run


def all_rows(database: Database) -> tuple[list[Run], list[JobHealth], list[RunStats]]:
    """Read runs, health and statistics at one moment."""
    with database.read() as session:
        return (
            list(session.scalars(select(Run).order_by(Run.id))),
            list(session.scalars(select(JobHealth))),
            list(session.scalars(select(RunStats))),
        )
