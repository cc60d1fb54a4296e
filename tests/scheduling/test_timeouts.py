"""Runs that take longer than they may, and processes that are used once: with real processes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dashboard import current_run
from dashboard.scheduling import executors, workers
from dashboard.scheduling.executors import ProcessRunExecutor
from dashboard.services import audit, runs
from dashboard.storage.models import Run, RunState
from tests.factories import OPERATOR, PATIENCE, Core, open_core, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TASKS = """
import os, subprocess, sys, time
from pathlib import Path
from dashboard import task


@task(name="timeouts.family", executor="processes")
def family(traces: str):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    own = subprocess.Popen(sleep)
    away = subprocess.Popen(sleep, start_new_session=True)
    Path(traces + ".new").write_text(f"{os.getpid()} {own.pid} {away.pid}")
    Path(traces + ".new").rename(traces)
    print("begun")
    time.sleep(600)


@task(name="timeouts.chatter", executor="processes")
def chatter():
    while True:
        print("x" * 8000)


@task(name="timeouts.wait", executor="processes")
def wait(file: str):
    print("begun")
    while not Path(file).exists():
        time.sleep(0.01)
    return os.getpid()


@task(name="timeouts.shared", executor="processes")
def shared():
    sys.shared = getattr(sys, "shared", 0) + 1
    return [os.getpid(), sys.shared]


@task(name="timeouts.alone", executor="processes", isolated=True)
def alone(file: str = "/"):
    sys.shared = getattr(sys, "shared", 0) + 1
    print("begun")
    while not Path(file).exists():
        time.sleep(0.01)
    return [os.getpid(), sys.shared]
"""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """A core that runs by itself; its two worker processes serve all tests here."""
    folder = tmp_path_factory.mktemp("timeouts")
    file = folder / "timeout_tasks.py"
    file.write_text(TASKS)
    with open_core(data=folder / "data", tasks=[str(file)], threads=2, processes=2) as core:
        core.start()
        yield core


def ended(core: Core, run_id: int) -> Run:
    """Wait for a run's end."""
    wait_until(lambda: core.run(run_id).finished_at is not None)
    return core.run(run_id)


def result(core: Core, task: str, **options: Any) -> list[int]:
    """Run a task that tells its process and how often that was used before."""
    run = ended(core, core.run_now(core.add(task, **options)))
    assert run.state is RunState.SUCCEEDED
    pid, times = (run.result or "").strip("[]").split(",")
    return [int(pid), int(times)]


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, even if nobody has asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def worker_pool(core: Core) -> ProcessRunExecutor:
    executor = core.runtime.scheduler.executors["processes"]
    assert isinstance(executor, ProcessRunExecutor)
    return executor


class Clock:
    """The monotonic clock of those who wait for workers, which can be put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def test_a_process_is_killed_with_all_it_started_and_no_other(
    pool: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (executors, workers):
        monkeypatch.setattr(module, "time", clock)
    traces, gate = tmp_path / "traces", tmp_path / "gate"
    other = pool.run_now(pool.add("timeouts.wait", parameters={"file": str(gate)}, timeout=600))
    wait_until(lambda: pool.log(other) == ["begun"])
    job_id = pool.add("timeouts.family", parameters={"traces": str(traces)}, timeout=100)
    run_id = pool.run_now(job_id)
    wait_until(lambda: pool.log(run_id) == ["begun"])
    clock.ahead = 100.0
    run = ended(pool, run_id)
    assert (run.state, run.error_type) == (RunState.FAILED, "TimeoutError")
    told = "It ran longer than its timeout of 100 s, so its process was killed."
    assert run.error_message == told
    assert run.fingerprint
    assert run.duration is not None
    assert 100 <= run.duration < 100 + PATIENCE
    assert pool.log(run.id) == ["begun"]
    pids = [int(pid) for pid in traces.read_text().split()]
    assert len(pids) == 3
    wait_until(lambda: all(map(is_gone, pids)))
    health = pool.health(job_id)
    assert health is not None
    assert (health.consecutive_failures, health.last_error) == (1, f"TimeoutError: {told}")
    gate.touch()
    assert ended(pool, other).state is RunState.SUCCEEDED
    wait_until(lambda: worker_pool(pool).free == 2)
    assert result(pool, "timeouts.shared")[0] not in pids


def test_a_process_that_never_stops_talking_is_killed_too(pool: Core) -> None:
    run = ended(pool, pool.run_now(pool.add("timeouts.chatter", timeout=0.5)))
    assert (run.state, run.error_type) == (RunState.FAILED, "TimeoutError")
    assert run.duration is not None
    assert run.duration < PATIENCE


def test_a_run_within_its_timeout_leaves_its_worker_to_the_next(pool: Core) -> None:
    first, times = result(pool, "timeouts.shared", timeout=30)
    following = [result(pool, "timeouts.shared", timeout=30) for _ in range(2)]
    assert [first, times + 2] in following


def test_an_isolated_task_gets_a_new_process_for_every_run(pool: Core) -> None:
    used = {result(pool, "timeouts.shared")[0] for _ in range(2)}
    seen = set()
    for _ in range(2):
        pid, times = result(pool, "timeouts.alone")
        assert times == 1
        assert is_gone(pid)
        seen.add(pid)
    assert len(seen) == 2
    assert not seen & used
    children = {child.pid for child in psutil.Process().children()}
    assert len(children & (seen | used)) <= 2


@pytest.mark.parametrize("task", ["timeouts.wait", "timeouts.alone"])
def test_cancelling_kills_the_process(pool: Core, tmp_path: Path, task: str) -> None:
    run_id = pool.run_now(pool.add(task, parameters={"file": str(tmp_path / "never")}, timeout=60))
    wait_until(lambda: pool.log(run_id) == ["begun"])
    with audit.transaction(pool.database) as session:
        runs.cancel_run(session, run_id, actor=OPERATOR)
    pool.runtime.scheduler.wakeup()
    run = ended(pool, run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, "Cancelled by otto.")
    wait_until(lambda: worker_pool(pool).free == 2)
    assert result(pool, "timeouts.shared")


def test_a_thread_that_never_looks_keeps_its_place_and_has_failed_in_the_end(
    pool: Core, register: Callable[..., None]
) -> None:
    gate, told = threading.Event(), threading.Event()

    def stubborn() -> str:
        run = current_run()
        wait_until(lambda: run.timed_out)
        told.set()
        gate.wait(PATIENCE)
        return "done all the same"

    register(stubborn, "test.stubborn")
    register(lambda: "quick", "test.quick")
    run_id = pool.run_now(pool.add("test.stubborn", timeout=0.01))
    assert told.wait(PATIENCE)
    assert pool.run(run_id).state is RunState.RUNNING
    other = ended(pool, pool.run_now(pool.add("test.quick", timeout=10)))
    assert (other.state, other.result) == (RunState.SUCCEEDED, "quick")
    gate.set()
    run = ended(pool, run_id)
    assert (run.state, run.error_type) == (RunState.FAILED, "TimeoutError")
    assert run.result == "done all the same"
