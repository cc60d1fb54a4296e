from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import IntegrityError

from dashboard.storage.models import ACTIVE, ACTIVE_RUN, Job, Role, Run, RunLog, RunState
from dashboard.storage.models.base import Moments
from tests.rows import EPOCH, make_job, make_run

if TYPE_CHECKING:
    from typing import Any

    from dashboard.storage.db import Database

STRANGE_IDS = ["a/b", "it's", '"quoted"', "<b>", "% _", "nöel", "🙂🚀", "x" * 191, "\\", "a;--"]


def test_a_fire_time_and_attempt_exist_once(database: Database) -> None:
    with database.write() as session:
        session.add(make_run(1, scheduled_at=EPOCH))
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(make_run(2, scheduled_at=EPOCH))
    others: list[dict[str, Any]] = [
        {"attempt": 2, "scheduled_at": EPOCH},
        {"scheduled_at": EPOCH + timedelta(microseconds=1)},
        {"job_id": "other", "scheduled_at": EPOCH},
    ]
    for number, values in enumerate(others, start=3):
        with database.write() as session:
            session.add(make_run(number, **values))


@given(
    start=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    gaps=st.lists(st.timedeltas(timedelta(microseconds=1), timedelta(days=400)), max_size=20),
    repeated=st.integers(1, 3),
)
def test_moments_come_back_as_they_were(
    start: datetime, gaps: list[timedelta], repeated: int
) -> None:
    moments = [start.replace(tzinfo=UTC)]
    for gap in gaps * repeated:
        moments.append(moments[-1] + gap)
    kind, dialect = Moments(), DefaultDialect()
    kept = json.dumps(kind.process_bind_param(moments, dialect))
    assert kind.process_result_value(json.loads(kept), dialect) == moments


def test_history_outlives_its_job(database: Database) -> None:
    with database.write() as session:
        session.add_all([make_job("nightly"), make_run(1)])
    with database.write() as session:
        session.execute(delete(Job))
    with database.read() as session:
        assert session.get_one(Run, 1).job_id == "nightly"


def test_states_are_kept_as_words(database: Database) -> None:
    with database.write() as session:
        session.add_all(make_run(n, state=state) for n, state in enumerate(RunState, start=1))
    with database.read() as session:
        kept = session.scalars(text("SELECT state FROM run ORDER BY id")).all()
        assert kept == [state.value for state in RunState]
        assert session.scalars(select(Run.state).order_by(Run.id)).all() == list(RunState)


def test_the_index_of_active_runs_means_the_active_states(database: Database) -> None:
    with database.write() as session:
        session.add_all(make_run(n, state=state) for n, state in enumerate(RunState, start=1))
    with database.read() as session:
        named = session.scalars(select(Run.state).where(text(ACTIVE_RUN))).all()
    assert sorted(named) == sorted(ACTIVE)


@pytest.mark.parametrize("job_id", STRANGE_IDS)
def test_ids_of_any_characters_come_back_as_they_were(database: Database, job_id: str) -> None:
    with database.write() as session:
        session.add_all([make_job(job_id), make_run(1, job_id)])
    with database.read() as session:
        assert session.get_one(Job, job_id).id == job_id
        assert session.scalars(select(Run.job_id)).one() == job_id


def test_long_texts_and_large_numbers_fit(database: Database) -> None:
    line = "x🙂" * 100_000
    with database.write() as session:
        run = make_run(1, result=line, traceback=line)
        run.id = 2**40
        session.add(run)
        session.add(RunLog(run_id=2**40, seq=10_000, at=EPOCH, level="INFO", logger="x", text=line))
    with database.read() as session:
        assert session.get_one(Run, 2**40).result == line
        assert session.get_one(RunLog, (2**40, 10_000)).text == line


def test_a_role_includes_itself_and_the_lower_ones() -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for (high, one), (low, other) in product(enumerate(order), repeat=2):
        assert one.includes(other) is (high >= low)
