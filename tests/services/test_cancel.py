from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.errors import Conflict, NotAllowed, RunNotFound
from dashboard.services import audit, runs
from dashboard.storage.models import ACTIVE, Audit, JobHealth, Run, RunState
from tests.factories import ADMIN, OPERATOR, VIEWER, new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.services.audit import Actor
    from dashboard.storage.db import Database

ENDED = [state for state in RunState if state not in ACTIVE]


def add(database: Database, state: RunState) -> int:
    with database.write() as session:
        session.add(make_job("nightly"))
        run = new_run("nightly", state=state)
        session.add(run)
        session.flush()
        return run.id


def cancel(database: Database, run_id: int, actor: Actor = OPERATOR) -> Run:
    with audit.transaction(database) as session:
        return runs.cancel_run(session, run_id, actor=actor)


def row(database: Database, run_id: int) -> Run:
    with database.read() as session:
        return session.get_one(Run, run_id)


def test_a_queued_run_has_ended_with_it(database: Database) -> None:
    run_id = add(database, RunState.QUEUED)
    cancel(database, run_id)
    run = row(database, run_id)
    assert run.state is RunState.CANCELLED
    assert run.reason == "Cancelled by otto before it began."
    assert run.finished_at is not None
    with database.read() as session:
        entry = session.scalars(select(Audit)).one()
        health = session.get_one(JobHealth, "nightly")
    assert (entry.action, entry.target, entry.outcome) == ("run.cancel", str(run_id), "done")
    assert entry.detail == {"job": "nightly", "state": "queued"}
    assert health.recent[-1][1] == "cancelled"
    assert health.consecutive_failures == 0


def test_a_running_run_goes_on_until_its_process_sees_the_wish(database: Database) -> None:
    run_id = add(database, RunState.RUNNING)
    cancel(database, run_id)
    cancel(database, run_id, ADMIN)
    run = row(database, run_id)
    assert run.state is RunState.RUNNING
    assert run.cancel_asked_by == "otto"
    assert run.cancel_asked_at is not None


@pytest.mark.parametrize("state", ENDED)
def test_what_has_ended_stays_as_it_is(database: Database, state: RunState) -> None:
    run_id = add(database, state)
    with pytest.raises(Conflict, match=f"has ended already .{state.value}"):
        cancel(database, run_id)
    assert row(database, run_id).state is state


def test_a_viewer_may_not_and_an_unknown_run_is_none(database: Database) -> None:
    run_id = add(database, RunState.QUEUED)
    with pytest.raises(NotAllowed):
        cancel(database, run_id, VIEWER)
    assert row(database, run_id).state is RunState.QUEUED
    with pytest.raises(RunNotFound):
        cancel(database, 10**9)


def test_of_many_who_cancel_at_once_one_ends_it(database: Database) -> None:
    run_id = add(database, RunState.QUEUED)
    together = threading.Barrier(4)
    results: list[Any] = []

    def press() -> None:
        together.wait()
        try:
            results.append(cancel(database, run_id).id)
        except Conflict as error:
            results.append(error)

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in results if each == run_id]) == 1
    with database.read() as session:
        assert len(session.get_one(JobHealth, "nightly").recent) == 1
