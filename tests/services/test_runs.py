from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.errors import (
    AlreadyRunning,
    Conflict,
    DashboardError,
    JobNotFound,
    NotAllowed,
    RunNotFound,
)
from dashboard.services import audit, jobs, runs
from dashboard.storage.models import ACTIVE, Audit, Job, Origin, Run, RunState
from tests.factories import ADMIN, OPERATOR, VIEWER, new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.services.audit import Actor
    from dashboard.storage.db import Database

ENDED = [state for state in RunState if state not in ACTIVE]


@pytest.fixture(autouse=True)
def _job(database: Database) -> None:
    with database.write() as session:
        session.add(make_job("nightly"))


def add(database: Database, **values: Any) -> int:
    with database.write() as session:
        run = new_run("nightly", **values)
        session.add(run)
        session.flush()
        return run.id


def retry(database: Database, run_id: int, actor: Actor = OPERATOR) -> Run:
    with audit.transaction(database) as session:
        return runs.retry_run(session, run_id, actor=actor)


def last_entry(database: Database) -> Audit:
    with database.read() as session:
        return session.scalars(select(Audit).order_by(Audit.id.desc())).first() or Audit()


@pytest.mark.parametrize("state", ENDED)
def test_a_retry_is_the_next_attempt_of_the_same_fire_time(
    database: Database, state: RunState
) -> None:
    old = add(database, state=state, parameters={"day": "then"}, second=7)
    made = retry(database, old)
    with database.read() as session:
        first, second = session.get_one(Run, old), session.get_one(Run, made.id)
    assert second.scheduled_at == first.scheduled_at
    assert (second.attempt, second.origin, second.state) == (2, Origin.RETRY, RunState.QUEUED)
    assert (second.parameters, second.requested_by) == ({"day": "then"}, "otto")
    assert first.state is state
    entry = last_entry(database)
    assert (entry.action, entry.target, entry.outcome) == ("run.retry", str(old), "done")
    assert entry.detail == {"job": "nightly", "run": made.id, "attempt": 2}


def test_retrying_an_old_attempt_again_counts_on_from_the_newest(database: Database) -> None:
    old = add(database, state=RunState.FAILED)
    add(database, state=RunState.FAILED, attempt=2)
    add(database, state=RunState.FAILED, attempt=3)
    assert retry(database, old).attempt == 4


@pytest.mark.parametrize("state", ACTIVE)
def test_what_has_not_ended_cannot_be_retried(database: Database, state: RunState) -> None:
    run_id = add(database, state=state)
    with pytest.raises(Conflict, match=state.value):
        retry(database, run_id)
    assert last_entry(database).outcome == "refused"


def test_a_busy_job_is_not_retried(database: Database) -> None:
    run_id = add(database, state=RunState.FAILED)
    add(database, second=1, state=RunState.RUNNING)
    with pytest.raises(AlreadyRunning):
        retry(database, run_id)


def test_runs_of_a_removed_job_are_not_retried(database: Database) -> None:
    run_id = add(database, state=RunState.FAILED)
    with audit.transaction(database) as session:
        jobs.remove_job(session, "nightly", actor=ADMIN)
    with pytest.raises(Conflict, match="was removed"):
        retry(database, run_id)


def test_runs_of_a_broken_job_are_not_retried(database: Database) -> None:
    run_id = add(database, state=RunState.FAILED)
    with database.write() as session:
        session.get_one(Job, "nightly").broken_reason = "There is no task “x”."
    with pytest.raises(Conflict, match="There is no task"):
        retry(database, run_id)


def test_a_viewer_may_not(database: Database) -> None:
    run_id = add(database, state=RunState.FAILED)
    with pytest.raises(NotAllowed):
        retry(database, run_id, VIEWER)


@pytest.mark.parametrize("run_id", [0, -1, 10**6, 2**63 - 1, 2**63, 10**40, -(10**40)])
def test_numbers_that_are_no_run(database: Database, run_id: int) -> None:
    with database.read() as session, pytest.raises(RunNotFound):
        runs.get_run(session, run_id)


def test_of_many_who_retry_at_once_one_wins(database: Database) -> None:
    """The others are refused in words, not with an error of the database."""
    run_id = add(database, state=RunState.FAILED)
    together = threading.Barrier(4)
    results: list[Any] = []

    def press() -> None:
        together.wait()
        try:
            results.append(retry(database, run_id).attempt)
        except BaseException as error:  # noqa: BLE001
            results.append(error)

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each for each in results if isinstance(each, int)] == [2]
    assert [type(each) for each in results if not isinstance(each, int)] == [AlreadyRunning] * 3


def test_of_many_who_run_at_once_as_many_as_allowed_win(database: Database) -> None:
    with database.write() as session:
        session.get_one(Job, "nightly").max_instances = 2
    together = threading.Barrier(6)
    results: list[Any] = []

    def press() -> None:
        together.wait()
        try:
            with audit.transaction(database) as session:
                results.append(jobs.run_now(session, "nightly", actor=OPERATOR).id)
        except DashboardError as error:
            results.append(error)

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in results if isinstance(each, int)]) == 2
    assert len([each for each in results if isinstance(each, AlreadyRunning)]) == 4


def test_get_run_returns_it(database: Database) -> None:
    run_id = add(database)
    with database.read() as session:
        assert runs.get_run(session, run_id).job_id == "nightly"
        with pytest.raises(JobNotFound):
            jobs.get_job(session, str(run_id))
