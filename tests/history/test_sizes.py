from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dashboard.history.sizes import PRUNING, TABLES, Pruning, next_pruning, table_sizes
from tests.factories import new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def add_runs(database: Database, *ages: float) -> None:
    with database.write() as session:
        for age in ages:
            moment = NOW - age * DAY
            session.add(new_run(scheduled_at=moment, queued_at=moment))
            session.flush()


def pruning(database: Database) -> Pruning:
    with database.read() as session:
        return next_pruning(session, NOW, retention_days=90)


@pytest.mark.parametrize(
    ("ages", "old"),
    [((), 0), ((1,), 0), ((91,), 1), ((100, 91, 89, 1), 2), (range(200, 0, -1), 110)],
)
def test_what_is_old_enough(database: Database, ages: tuple[float, ...], old: int) -> None:
    add_runs(database, *ages)
    found = pruning(database)
    assert found.runs == old
    assert found.before == NOW - 90 * DAY
    assert found.oldest == (NOW - ages[0] * DAY if ages else None)


def test_the_job_that_prunes_next(database: Database) -> None:
    assert pruning(database).job is None
    with database.write() as session:
        session.add(make_job("later", task=PRUNING, next_run_time=NOW + 2 * DAY))
        session.add(make_job("sooner", task=PRUNING, next_run_time=NOW + DAY))
        session.add(make_job("paused", task=PRUNING, next_run_time=None))
    job = pruning(database).job
    assert job is not None
    assert job.id == "sooner"


def test_sizes_are_told_without_counting(database: Database) -> None:
    add_runs(database, 3, 2, 1)
    if not database.is_sqlite:
        with database.engine.connect() as connection:
            connection.execute(text("ANALYZE run"))
            connection.commit()
    with database.read() as session:
        sizes = {one.name: one for one in table_sizes(session)}
    assert set(sizes) == set(TABLES)
    assert sizes["Runs"].rows == 3
    assert (sizes["Runs"].size is None) is database.is_sqlite
