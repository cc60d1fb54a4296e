"""Another process locks the database: nothing dies, nothing is lost, all goes on afterwards."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dashboard import current_run
from dashboard.services.status import scheduler_status
from dashboard.settings import load_settings
from dashboard.storage import db
from dashboard.storage.models import Job, RunState
from tests.factories import PATIENCE, Core, new_run, open_core, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def locked(core: Core) -> Iterator[None]:
    """Hold the write lock as `sqlite3 dashboard.sqlite` in another terminal would."""
    name = core.database.engine.url.database
    assert name is not None
    other = sqlite3.connect(name, isolation_level=None, timeout=PATIENCE)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def calls(register: Callable[..., None]) -> list[int]:
    calls: list[int] = []

    def note() -> None:
        print("hello")  # noqa: T201
        calls.append(current_run().id)

    register(note, "test.note")
    return calls


def add_jobs(core: Core) -> None:
    for number in range(3):
        core.add(
            "test.note",
            id=f"j{number}",
            trigger={"type": "interval", "seconds": 1},
            coalesce=False,
            misfire_grace_time=None,
            max_instances=100,
        )
    with core.database.write() as session:
        session.add_all(
            new_run(
                "j0", n, state=RunState.QUEUED, task="test.note", parameters={}, origin="manual"
            )
            for n in range(100)
        )


def check(core: Core, calls: list[int]) -> None:
    """Everything ran once, and every fire time is there."""
    for number in range(3):
        runs = [run for run in core.runs(f"j{number}") if run.origin == "schedule"]
        moments = sorted(run.scheduled_at.timestamp() for run in runs)
        assert [round(moment - moments[0]) for moment in moments] == list(range(len(moments)))
    ended = core.runs(state=RunState.SUCCEEDED)
    assert sorted(calls) == sorted(run.id for run in ended)
    assert len([run for run in ended if run.origin == "manual"]) == 100


@pytest.mark.parametrize("patience", [15, 0.2])
def test_a_lock_is_waited_for_or_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[int], patience: float
) -> None:
    """With a patience of 15 s a lock of 10 s is only waited for; of 0.2 s, every try fails."""
    patient = db.Database(load_settings(data=tmp_path).database_url)
    monkeypatch.setattr(db, "BUSY_SECONDS", patience)
    with open_core(data=tmp_path, lease_seconds=1) as core:
        add_jobs(core)
        core.start()
        wait_until(lambda: len(calls) >= 20)
        with locked(core):
            scheduler, recorder = core.runtime.scheduler, core.runtime.recorder
            if patience < 1:
                wait_until(lambda: scheduler.trouble.since)

            def looks_stopped() -> bool:
                with core.database.read() as session:
                    return not scheduler_status(session).alive

            # Whoever looks meanwhile sees that nothing goes on: the heartbeat stays out.
            wait_until(looks_stopped)
            assert recorder._thread is not None
            assert recorder._thread.is_alive()
            assert scheduler._thread.is_alive()
        wait_until(lambda: not looks_stopped())
        wait_until(lambda: len(core.runs("j2", state=RunState.SUCCEEDED)) >= 3)
        wait_until(lambda: scheduler.trouble.since is None)
        with patient.write() as session:
            session.execute(update(Job).values(next_run_time=None))
        core.settle()
        check(core, calls)
        assert {tuple(core.log(run_id)) for run_id in calls[:50]} <= {("hello",), ()}
    patient.close()
