"""Somebody cancels a run: what the process that runs it does about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from dashboard import current_run
from dashboard.scheduling import handover
from dashboard.services import audit, runs
from dashboard.storage.models import RunState
from tests.factories import OPERATOR, PATIENCE, Core, new_run, open_core, psycopg_url, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TASKS = """
import subprocess, sys, time
from pathlib import Path
from dashboard import task


@task(name="cancel.family", executor="processes")
def family(traces: str):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    own = subprocess.Popen(sleep)
    away = subprocess.Popen(sleep, start_new_session=True)
    Path(traces).write_text(f"{own.pid} {away.pid}")
    time.sleep(600)


@task(name="cancel.wait", executor="processes")
def wait(file: str):
    print("begun")
    while not Path(file).exists():
        time.sleep(0.01)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Core]:
    """A core that runs by itself, on each kind of database, with two worker processes."""
    url = None
    if request.param == "postgresql":
        url = psycopg_url(request.getfixturevalue("postgresql_url"))
    file = tmp_path / "cancel_tasks.py"
    file.write_text(TASKS)
    options = {"database": url, "tasks": [str(file)], "threads": 2, "processes": 2}
    with open_core(data=tmp_path / "data", **options) as core:
        core.start()
        yield core


def cancel(core: Core, run_id: int) -> None:
    with audit.transaction(core.database) as session:
        runs.cancel_run(session, run_id, actor=OPERATOR)
    core.runtime.scheduler.wakeup()


def ended(core: Core, run_id: int) -> RunState:
    wait_until(lambda: core.run(run_id).finished_at is not None)
    return core.run(run_id).state


def test_a_task_in_a_thread_that_looks_ends_as_cancelled(
    live: Core, register: Callable[..., None]
) -> None:
    begun = threading.Event()

    def patient() -> str:
        begun.set()
        wait_until(lambda: current_run().cancelled)
        return "half"

    register(patient, "test.patient")
    run_id = live.run_now(live.add("test.patient"))
    assert begun.wait(PATIENCE)
    cancel(live, run_id)
    assert ended(live, run_id) is RunState.CANCELLED
    run = live.run(run_id)
    assert (run.reason, run.result) == ("Cancelled by otto.", "half")


def test_a_task_in_a_thread_that_never_looks_goes_on_to_its_end(
    live: Core, register: Callable[..., None]
) -> None:
    begun, gate = threading.Event(), threading.Event()

    def stubborn() -> None:
        begun.set()
        gate.wait(PATIENCE)

    register(stubborn, "test.stubborn")
    run_id = live.run_now(live.add("test.stubborn"))
    assert begun.wait(PATIENCE)
    cancel(live, run_id)
    executor = live.runtime.scheduler.executors["threads"]
    wait_until(executor._asked[run_id].is_set)
    gate.set()
    assert ended(live, run_id) is RunState.SUCCEEDED


def test_a_worker_process_is_killed_with_all_it_started_and_no_other(
    live: Core, tmp_path: Path
) -> None:
    traces, gate = tmp_path / "traces", tmp_path / "gate"
    other = live.run_now(live.add("cancel.wait", parameters={"file": str(gate)}))
    run_id = live.run_now(live.add("cancel.family", parameters={"traces": str(traces)}))
    wait_until(lambda: traces.exists() and len(traces.read_text().split()) == 2)
    wait_until(lambda: live.log(other) == ["begun"])
    cancel(live, run_id)
    assert ended(live, run_id) is RunState.CANCELLED
    run = live.run(run_id)
    assert run.reason == "Cancelled by otto."
    assert run.duration is not None
    pids = [int(pid) for pid in traces.read_text().split()]
    wait_until(lambda: all(map(is_gone, pids)))
    gate.touch()
    assert ended(live, other) is RunState.SUCCEEDED
    health = live.health(run.job_id)
    assert health is not None
    assert health.consecutive_failures == 0


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, even if nobody has asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_wish_outlives_the_process_that_ran_it(
    any_core: Core, register: Callable[..., None]
) -> None:
    """It got what it was to get: nobody is told of a failure, and nothing is tried again."""
    core = any_core
    register(lambda: None, "test.nothing")
    job_id = core.add("test.nothing")
    with core.database.write() as session:
        run = new_run(job_id, state=RunState.RUNNING, process="a process that died")
        session.add(run)
        session.flush()
    cancel(core, run.id)
    with core.database.write() as session:
        now = run.scheduled_at
        handover.interrupt_orphans(session.connection(), now, core.runtime.scheduler.identity)
    run = core.run(run.id)
    assert run.state is RunState.CANCELLED
    assert run.reason == "Cancelled by otto. The process that ran it died or was stopped."
    health = core.health(job_id)
    assert health is not None
    assert health.consecutive_failures == 0
